# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks that does as the path says, above all what a receiver should not do.

    webhook_receiver.py RECORDS [--example DOCUMENT --secret SECRET] [--max-body SIZE]

listens on 127.0.0.1, prints {"http": PORT, "https": PORT or null, "certificate": FILE or null}, and appends a line of
JSON to the file RECORDS for each request before it answers; bodies stand in it when they are shorter than --max-body.
With --example each request's signature is checked by the example in that file. It ends when its standard input does.

    /ok                     200                          /hang            no answer
    /status/N               that                         /hang-headers    half of an answer's headers, and no more
    /then-ok/N/COUNT        N, COUNT times, then 200     /hang-body       200, and no body
    /retry-after/V/COUNT    429 with Retry-After: V      /close           no answer, the connection is closed
    /redirect               302 to /ok                   /close-early     closed before the body is read
    /interim                100 and 103, then 200        /close-in-answer 200, closed in the middle of the body
    /random                 200, 500 or /close           /huge            200 and a body without end
    /garbage                what is no HTTP              /huge-headers    headers without end
    /hang-then-ok/COUNT     no answer, COUNT times, then 200

COUNT is per delivery. V may be "date+N", a date N seconds from now."""

import argparse
import asyncio
import collections
import email.utils
import hashlib
import json
import os
import random
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse


def example_of(document):
    """The function verify of the guide's chapter about webhooks."""
    with open(document, encoding="utf-8") as file:
        chapter = file.read()
    names = {}
    exec(re.search(r"```python\n(.*?)```", chapter, re.DOTALL).group(1), names)  # pylint: disable=exec-used
    return names["verify"]


class Headers(dict):
    """As frameworks have it: names in any case."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Receiver:
    def __init__(self, records, verify, secret, max_body):
        self.records = open(records, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        self.verify, self.secret, self.max_body = verify, secret, max_body
        self.n_requests = collections.Counter()

    def write(self, record):
        self.records.write(json.dumps(record) + "\n")
        self.records.flush()

    def verified(self, headers, body):
        """The forms of the signature that are right."""
        if not self.verify or "x-hopx-signature" not in headers:
            return []
        return [form for form in ("body", "timestamp-body") if self.verify(self.secret, headers, body, form)]

    async def serve(self, reader, writer):
        try:
            await self.request(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def request(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        headers = Headers((name.lower(), value.strip()) for name, _, value in (f.partition(":") for f in fields))
        parts = [urllib.parse.unquote(part) for part in target.split("?")[0].strip("/").split("/")]
        if parts[0] == "close-early":
            writer.transport.abort()
            return
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        delivery = headers.get("x-hopx-delivery")
        self.n_requests[delivery] += 1
        self.write(
            {
                "method": method, "path": target, "delivery": delivery, "headers": headers, "fields": fields,
                "body": body.decode() if len(body) < self.max_body else None, "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(), "time": time.time(),
                "attempt": self.n_requests[delivery], "verified": self.verified(headers, body),
            }
        )  # fmt: skip
        await getattr(self, "on_" + parts[0].replace("-", "_"))(reader, writer, self.n_requests[delivery], *parts[1:])

    @staticmethod
    def answer(writer, status, *fields, body=b"{}"):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    async def on_ok(self, _reader, writer, _n):
        self.answer(writer, 200)

    async def on_status(self, _reader, writer, _n, status):
        self.answer(writer, int(status))

    async def on_then_ok(self, _reader, writer, n, status, count):
        self.answer(writer, int(status) if n <= int(count) else 200)

    async def on_retry_after(self, _reader, writer, n, value, count):
        if value.startswith("date+"):
            value = email.utils.formatdate(time.time() + int(value[5:]), usegmt=True)
        if n <= int(count):
            self.answer(writer, 429, f"Retry-After: {value}")
        else:
            self.answer(writer, 200)

    async def on_redirect(self, _reader, writer, _n):
        self.answer(writer, 302, "Location: /ok")

    async def on_interim(self, _reader, writer, _n):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.answer(writer, 200)

    async def on_random(self, _reader, writer, _n):
        choice = random.randrange(4)
        if choice < 3:
            self.answer(writer, 200 if choice < 2 else 500)

    async def on_garbage(self, _reader, writer, _n):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    async def on_hang(self, reader, _writer, _n):
        await reader.read(1)

    async def on_hang_then_ok(self, reader, writer, n, count):
        if n <= int(count):
            await reader.read(1)
        else:
            self.answer(writer, 200)

    async def on_hang_headers(self, reader, writer, _n):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await reader.read(1)

    async def on_hang_body(self, reader, writer, _n):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await reader.read(1)

    async def on_close(self, _reader, _writer, _n):
        pass

    async def on_close_in_answer(self, _reader, writer, _n):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    async def on_huge(self, _reader, writer, _n):
        await self.flood(writer, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096)

    async def on_huge_headers(self, _reader, writer, _n):
        await self.flood(writer, b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 1000 + b"\r\n")

    async def flood(self, writer, start, more):
        """Sends until the other side has had enough, and records how much that was."""
        writer.write(start)
        size = 0
        try:
            while size < 1 << 28:
                writer.write(more)
                await writer.drain()
                size += len(more)
        finally:
            self.write({"flood": size})


def make_certificate(directory):
    """Self-signed, for localhost and 127.0.0.1."""
    files = [os.path.join(directory, name) for name in ("certificate.pem", "key.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "3",
         "-out", files[0], "-keyout", files[1]],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return files


async def until_stdin_ends():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("records")
    parser.add_argument("--example")
    parser.add_argument("--secret", default="")
    parser.add_argument("--max-body", type=int, default=4096)
    arguments = parser.parse_args()
    verify = example_of(arguments.example) if arguments.example else None
    receiver = Receiver(arguments.records, verify, arguments.secret, arguments.max_body)

    with tempfile.TemporaryDirectory() as directory:
        plain = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        ports = {"http": plain.sockets[0].getsockname()[1], "https": None, "certificate": None}
        try:
            certificate, key = make_certificate(directory)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            secure = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
            ports |= {"https": secure.sockets[0].getsockname()[1], "certificate": certificate}
        except FileNotFoundError:
            pass  # no openssl
        print(json.dumps(ports), flush=True)
        await until_stdin_ends()


if __name__ == "__main__":
    asyncio.run(main())
