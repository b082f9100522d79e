// SPDX-License-Identifier: Apache-2.0
//
// Files through the public JavaScript client, for test_files_sdk.py. Reads calls from stdin, one JSON document a line:
// {"call": name, "arguments": […]}; bytes are {"base64": …} both ways. Answers each with {"value": …} or {"error": …}.
// Arguments: the control plane's URL, the sandbox id.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

// The client reports its token refreshes on stdout, which belongs to the answers.
const print = console.log;
console.log = console.error;

const require = createRequire(import.meta.url);
const { Sandbox } = require("@hopx-ai/sdk");

const [controlPlane, id] = process.argv.slice(2);

const decode = (value) => (value?.base64 === undefined ? value : Buffer.from(value.base64, "base64"));
const encode = (value) => (value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value);

// What a user of the client sees of a file.
const describe = (file) => ({
    name: file.name,
    path: file.path,
    size: file.size,
    isDir: file.isDir,
    modified: file.modifiedTime,
    permissions: file.permissions,
});

const sandbox = await Sandbox.connect(id, "key", controlPlane);
await sandbox.init?.();

for await (const line of createInterface({ input: process.stdin })) {
    const { call, arguments: values } = JSON.parse(line);
    try {
        let value = await sandbox.files[call](...values.map(decode));
        value = call === "list" ? value.map(describe) : encode(value);
        print(JSON.stringify({ value }));
    } catch ({ name, message, code, statusCode, path }) {
        print(JSON.stringify({ error: { name, message, code, statusCode, path } }));
    }
}
