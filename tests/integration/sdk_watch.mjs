// SPDX-License-Identifier: Apache-2.0
//
// Watching files through the public JavaScript client, for test_files_watch_sdk.py. Prints each message that comes as
// one line of JSON, and ends when stdin does.
// Arguments: the control plane's URL, the sandbox id, the path.

import { createRequire } from "node:module";

// The client reports its token refreshes on stdout, which belongs to the answers.
console.log = console.error;

const require = createRequire(import.meta.url);
const { Sandbox } = require("@hopx-ai/sdk");

const [controlPlane, id, path] = process.argv.slice(2);

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
process.setMaxListeners(0);

const sandbox = await Sandbox.connect(id, "key", controlPlane);
for await (const message of sandbox.watchFiles(path)) {
    process.stdout.write(JSON.stringify(message) + "\n");
}
