// SPDX-License-Identifier: Apache-2.0
//
// Background jobs through the public JavaScript client, for test_jobs_sdk.py. Starts one, lists it, kills it, lists it
// again, and prints what it saw as one document.
// Arguments: the control plane's URL, the sandbox id, what to do (code, command, pid or unknown), the directory.

import { createRequire } from "node:module";

// The client reports its token refreshes on stdout, which belongs to the answer.
console.log = console.error;

const require = createRequire(import.meta.url);
const { Sandbox } = require("@hopx-ai/sdk");

const [controlPlane, id, mode, workingDir] = process.argv.slice(2);

// Its row, once it is as wanted; undefined when it never is.
async function find(sandbox, processId, status) {
    for (const deadline = Date.now() + 20000; Date.now() < deadline; ) {
        const rows = await sandbox.listProcesses();
        const row = rows.find((candidate) => candidate.process_id === processId);
        if (row?.status === status) {
            return row;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return undefined;
}

async function start(sandbox) {
    if (mode === "command") {
        return sandbox.commands.runBackground("echo begun; sleep 1000", { workingDir });
    }
    const code = "import time; print('begun', flush=True); time.sleep(1000)";
    return sandbox.runCodeBackground(code, { workingDir, name: "training" });
}

async function run() {
    const sandbox = await Sandbox.connect(id, "key", controlPlane);
    await sandbox.init?.();
    if (mode === "unknown") {
        try {
            await sandbox.killProcess("proc_000000000000000000000000");
        } catch ({ name, message, code, statusCode }) {
            return { error: { name, message, code, statusCode } };
        }
        return { error: {} };
    }
    const started = await start(sandbox);
    const listed = await find(sandbox, started.process_id, "running");
    await sandbox.killProcess(mode === "pid" ? String(listed.pid) : started.process_id);
    return { started, listed, after: await find(sandbox, started.process_id, "killed") };
}

process.stdout.write(JSON.stringify(await run()) + "\n");
