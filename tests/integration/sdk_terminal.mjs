// SPDX-License-Identifier: Apache-2.0
//
// Terminals through the public JavaScript client, for test_sdk_terminal.py. Does what the JSON document on stdin
// says, {"inputs": [text or {cols, rows}, …], "wait": ms between them or 0, "times": n}, and prints for each of the n
// terminals one line with the messages that came: [{type, …}, …].
// Arguments: the control plane's URL, the sandbox id.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

// The client reports its token refreshes on stdout, which belongs to the answers.
console.log = console.error;

const require = createRequire(import.meta.url);
const { Sandbox } = require("@hopx-ai/sdk");

const [controlPlane, id] = process.argv.slice(2);
const { inputs, wait, times } = JSON.parse(await text(process.stdin));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function type(terminal, ws) {
    for (const input of inputs) {
        if (typeof input === "string") {
            terminal.sendInput(ws, input);
        } else {
            terminal.resize(ws, input.cols, input.rows);
        }
        if (wait > 0) {
            await pause(wait);
        }
    }
}

const sandbox = await Sandbox.connect(id, "key", controlPlane);
await sandbox.init?.();

for (let i = 0; i < times; i++) {
    const terminal = sandbox.terminal;
    const ws = await terminal.connect();
    ws.setMaxListeners(0); // the client adds one for each message
    const typed = type(terminal, ws);
    const messages = [];
    for await (const message of terminal.output(ws)) {
        messages.push(message);
    }
    await typed;
    ws.close();
    process.stdout.write(JSON.stringify(messages) + "\n");
}
process.exit(0); // its connections are kept alive
