// SPDX-License-Identifier: Apache-2.0
//
// What the public JavaScript client makes of /env, for test_env_clients.py. Prints one JSON document.
// Arguments: the control plane's URL, the sandbox id.

import { createRequire } from "node:module";

// The client reports its token refreshes on stdout, which belongs to the answer.
console.log = console.error;

const { Sandbox } = createRequire(import.meta.url)("@hopx-ai/sdk");
const [controlPlane, id] = process.argv.slice(2);
const { env } = await Sandbox.connect(id, "key", controlPlane);

async function failure(promise) {
    try {
        await promise;
    } catch ({ name, message, code, statusCode }) {
        return { name, message, code, statusCode };
    }
}

const fresh = await env.getAll();
const setAll = await env.setAll({ VAR1: "1", API_KEY: "kept" });
const update = await env.update({ VAR2: "2" });
await env.set("VAR3", "3");
const got = await env.get("VAR3");
await env.delete("VAR1");
const left = await env.getAll();
const missing = await env.get("VAR1");
const refused = await failure(env.set("NOT-A-NAME", "x"));
process.stdout.write(JSON.stringify({ fresh, setAll, update, got, left, missing: missing ?? null, refused }));
