// SPDX-License-Identifier: Apache-2.0
//
// What pages do with fetch, for test_files_transport.py. Arguments: the URL of a file, a token. Prints one document.

import { createHash } from "node:crypto";

const [url, token] = process.argv.slice(2);

const ask = (headers = {}, options = {}) =>
    fetch(url, { ...options, headers: { Authorization: `Bearer ${token}`, ...headers } });
const digest = (...parts) => {
    const hash = createHash("sha256");
    parts.forEach((part) => hash.update(part));
    return hash.digest("hex");
};
const body = async (response) => new Uint8Array(await response.arrayBuffer());

const head = await ask({}, { method: "HEAD" });
const size = Number(head.headers.get("content-length"));
const etag = head.headers.get("etag");
const result = { size, whole: digest(await body(await ask())) };

// Eight parts at once, as download managers and players do.
const step = Math.ceil(size / 8);
const parts = await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
        const last = Math.min((i + 1) * step, size) - 1;
        const response = await ask({ Range: `bytes=${i * step}-${last}`, "If-Range": etag });
        if (response.status !== 206) throw new Error(`${response.status}`);
        if (response.headers.get("content-range") !== `bytes ${i * step}-${last}/${size}`) throw new Error("range");
        return body(response);
    }),
);
result.parts = digest(...parts);

// A player asks for everything from somewhere on, takes a little, and jumps to another place.
const jumps = [];
for (const at of [0, 1000, size - 70_000, 5]) {
    const aborter = new AbortController();
    const response = await ask({ Range: `bytes=${at}-` }, { signal: aborter.signal });
    const { value } = await response.body.getReader().read();
    jumps.push([at, response.status, digest(value), value.length]);
    aborter.abort();
}
result.jumps = jumps;

const status = async (headers, options) => {
    const response = await ask(headers, options);
    await body(response);
    return response.status;
};
result.known = await status({ "If-None-Match": etag });
result.behind = await status({ Range: `bytes=${size}-` });
result.several = await status({ Range: "bytes=0-1,5-6" });
result.other = await status({ Range: "bytes=5-", "If-Range": '"other"' });
console.log(JSON.stringify(result));
