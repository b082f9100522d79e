# SPDX-License-Identifier: Apache-2.0
"""HTTP by hand, for what a decent client library refuses to send."""

import json
import socket
import struct
from dataclasses import dataclass, field

from lib.waiting import time_factor


class Headers(dict):
    """Header fields by name, in any case."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


@dataclass
class Response:
    """The parts of an answer that lib.expect looks at, as httpx names them."""

    status_code: int
    headers: Headers
    content: bytes = b""
    interim: list = field(default_factory=list)  # 1xx that came before

    @property
    def text(self):
        return self.content.decode(errors="replace")

    def json(self):
        return json.loads(self.content)


class ConnectionEnded(Exception):
    """The peer closed, or reset, before a complete answer."""


class RawConnection:
    def __init__(self, port, timeout=30.0, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * time_factor())
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def try_send(self, data):
        """Sends as much as the peer takes; False when it closed on us meanwhile."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Vanishes with a RST, as a killed client or a dropped NAT entry does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def _receive(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            raise ConnectionEnded("reset") from None
        if not data:
            raise ConnectionEnded(f"closed after {self.pending[:200]!r}")
        self.pending += data

    def read_until(self, mark):
        while mark not in self.pending:
            self._receive()
        found, self.pending = self.pending.split(mark, 1)
        return found

    def read_bytes(self, size):
        while len(self.pending) < size:
            self._receive()
        found, self.pending = self.pending[:size], self.pending[size:]
        return found

    def read_head(self):
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        headers = Headers()
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
        return Response(int(status), headers)

    def read_chunk(self):
        """The next chunk of a chunked body; empty at its end."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        data = self.read_bytes(size)
        assert self.read_bytes(2) == b"\r\n"
        return data

    def read_response(self, has_body=True):
        response = self.read_head()
        interim = []
        while 100 <= response.status_code < 200:
            interim.append(response)
            response = self.read_head()
        response.interim = interim
        if not has_body or response.status_code in (204, 304):
            return response
        if response.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = list(iter(self.read_chunk, b""))
            response.content = b"".join(chunks)
        elif "Content-Length" in response.headers:
            response.content = self.read_bytes(int(response.headers["Content-Length"]))
        else:
            response.content = self.read_to_end()
        return response

    def read_to_end(self):
        """Everything until the peer closes."""
        while True:
            try:
                self._receive()
            except ConnectionEnded:
                found, self.pending = self.pending, b""
                return found

    def is_closed_by_peer(self):
        """Waits for the peer's close; False when it says something or stays silent."""
        try:
            return not self.pending and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def head(method, path, headers=(), version="HTTP/1.1"):
    lines = [f"{method} {path} {version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path, document, headers=()):
    """A complete POST of a JSON document, or of bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    fields = {"Content-Type": "application/json", "Content-Length": len(body), **dict(headers)}
    return head("POST", path, fields) + body
