# SPDX-License-Identifier: Apache-2.0
"""Servers that put a program on a terminal, seen alike: what to connect to, and what they speak."""

import json
import shutil
import socket
import time
from contextlib import contextmanager
from urllib.parse import quote

from servers import BenchError, Server, environment, free_port

CAT = ["cat"]
BASH = ["bash", "--norc"]
DELETE_LIMIT_S = 10


class TcpServer(Server):
    """One that need not know HTTP: it is there when it takes connections."""

    def _is_healthy(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


class Websocketd(TcpServer):
    """Debian's websocketd: a line is a message, in both directions, and the program has pipes."""

    def __init__(self, argv):
        program = shutil.which("websocketd", path=environment()["PATH"])
        if not program:
            raise BenchError("websocketd is not installed")
        port = free_port()
        super().__init__("websocketd", [program, "--address=127.0.0.1", f"--port={port}",
                                        shutil.which(argv[0]), *argv[1:]], port)


class BarePty(TcpServer):
    """reference_pty.c."""

    def __init__(self, program, argv):
        port = free_port()
        super().__init__("the bare terminal", [program, port, *argv], port)


class FixedTerminals:
    """Of a server that was started for one program: each connection is a terminal with it."""

    def __init__(self, server, protocol):
        self.server, self.protocol, self.name = server, protocol, server.name

    def prepare(self):
        pass

    @contextmanager
    def open(self, _argv, _count=1):
        yield ["/"]


class AgentTerminals:
    """A terminal lives and dies with its connection."""

    protocol = "agent"

    def __init__(self, server):
        self.server, self.name = server, server.name

    def prepare(self):
        pass

    @contextmanager
    def open(self, argv, _count=1):
        yield ["/terminal?command=" + quote(" ".join(argv))]


class PeerTerminals:
    """The npm peer's: processes that are made first, and stay until they are deleted."""

    protocol = "peer"

    def __init__(self, server):
        self.server, self.name = server, server.name

    def prepare(self):
        """Its default is 64 processes."""
        path = "/v1/processes/config"
        config = json.loads(self.server.ask("GET", path)[1])
        status, answer = self.server.ask("POST", path, {**config, "maxConcurrentProcesses": 400})
        if status != 200:
            raise BenchError(f"{self.name}: {path} answered {status} {answer[:300]!r}")

    @contextmanager
    def open(self, argv, count=1):
        ids = []
        try:
            for _ in range(count):
                ids.append(self._start(argv))
            yield [f"/v1/processes/{id}/terminal/ws" for id in ids]
        finally:
            for id in ids:
                self.server.ask("POST", f"/v1/processes/{id}/kill")
                self._delete(id)

    def _start(self, argv):
        status, answer = self.server.ask("POST", "/v1/processes", {
            "command": argv[0], "args": argv[1:], "tty": True, "interactive": True,
            "env": {"TERM": "xterm-256color"}})
        if status != 200:
            raise BenchError(f"{self.name}: POST /v1/processes answered {status} {answer[:300]!r}")
        return json.loads(answer)["id"]

    def _delete(self, id):
        """Possible once it has ended."""
        end = time.monotonic() + DELETE_LIMIT_S
        while self.server.ask("DELETE", f"/v1/processes/{id}")[0] != 204:
            if time.monotonic() > end:
                raise BenchError(f"{self.name}: process {id} cannot be deleted")
            time.sleep(0.01)
