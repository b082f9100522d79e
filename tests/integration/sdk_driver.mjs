// SPDX-License-Identifier: Apache-2.0
//
// Drives the public JavaScript client for test_js_sdk.py. Reads one JSON document per line from stdin,
// {"call": …, …}, and prints one per line: {"value": …} or {"error": {name, message, code, statusCode}}.
// Arguments: the control plane's URL, the sandbox id.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

// The client reports its token refreshes on stdout, which belongs to the answers.
console.log = console.error;

const require = createRequire(import.meta.url);
const { Sandbox } = require("@hopx-ai/sdk");

const [controlPlane, id] = process.argv.slice(2);
let sandbox;

async function runCodeStream({ code, options }) {
    const messages = [];
    for await (const message of sandbox.runCodeStream(code, options)) messages.push(message);
    return messages;
}

// The same stream many times, some of them at once.
async function runCodeStreams({ code, options, times, lanes }) {
    const runs = [];
    let left = times;
    const lane = async () => {
        while (left-- > 0) runs.push(await runCodeStream({ code, options }));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return runs.map((messages) => ({
        types: messages.map((message) => message.type),
        stdout: messages.filter((message) => message.type === "stdout").map((message) => message.data).join(""),
    }));
}

const calls = {
    connect: async () => {
        sandbox = await Sandbox.connect(id, "key", controlPlane);
        return sandbox.sandboxId;
    },
    runCode: ({ code, options }) => sandbox.runCode(code, options),
    runCodeStream,
    runCodeStreams,
    runCommand: ({ command, options }) => sandbox.commands.run(command, options),
    getHealth: () => sandbox.getHealth(),
    isHealthy: () => sandbox.isHealthy(),
    ensureHealthy: () => sandbox.ensureHealthy(),
    getAgentInfo: () => sandbox.getAgentInfo(),
    listSystemProcesses: () => sandbox.listSystemProcesses(),
    getJupyterSessions: () => sandbox.getJupyterSessions(),
    getMetricsSnapshot: () => sandbox.getMetricsSnapshot(),
    cacheStats: () => sandbox.cache.stats(),
    cacheClear: () => sandbox.cache.clear(),
};

function describe(error) {
    const { name, message, code, statusCode, requestId } = error;
    return { name, message, code, statusCode, requestId };
}

for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
        answer = { value: (await calls[request.call](request)) ?? null };
    } catch (error) {
        answer = { error: describe(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
}
