# SPDX-License-Identifier: Apache-2.0
"""The instruments: C helpers, compiled on the spot, wrk, and the order of measuring two sides."""

import json
import os
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import BenchError, environment

HERE = Path(__file__).resolve().parent
HELPERS = {
    "reference_server": (["reference_server.c"], []),
    "spawn_floor": (["spawn_floor.c", "samples.c"], ["-luv"]),
    "load": (["load.c", "samples.c"], []),
    "file_load": (["file_load.c", "samples.c"], []),
    "ws_load": (["ws_load.c", "ws_client.c", "samples.c"], []),
    "reference_pty": (["reference_pty.c"], ["-lutil", "-lpthread"]),
}
MANY = 2_000_000
LIMIT_S = 60  # for one measurement; each takes a few seconds


class Tools:
    """Runs one measurement at a time and returns its figures."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, (sources, libraries) in HELPERS.items():
            self._run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-I", HERE.parent.parent,
                       "-o", self.directory / name, *(HERE / s for s in sources), *libraries])

    def wrk(self, server, path, connections, body=None, refused=False, cpu=None):
        """Requests per second over one second; all of them must be refused (4xx), or none."""
        argv = ["wrk", "-t1", f"-c{connections}", "-d1s", "--timeout", "5s", "-s", HERE / "wrk.lua"]
        if cpu is not None:
            argv = ["taskset", "-c", str(cpu), *argv]
        if server.token:
            argv += ["-H", f"Authorization: Bearer {server.token}"]
        argv += [f"http://127.0.0.1:{server.port}{path}", "--"]
        if body is not None:
            argv.append(json.dumps(body))
        lines = [s for s in self._run(argv).splitlines() if s.startswith("RESULT ")]
        result = json.loads(lines[0].removeprefix("RESULT "))
        expected = result["requests"] if refused else 0
        if not result["requests"] or result["broken"] or result["refused"] != expected:
            raise BenchError(f"{server.name}, {connections} connections, {path}: {result}")
        return result["requests"] / result["seconds"]

    def load(self, server, request, count, clients=1, status=200, expect=None, gap_ms=0):
        """The load generator's figures for @count answers to @request (bytes)."""
        return json.loads(self._run(self._load_argv(server, request, count, clients, status,
                                                    expect, gap_ms)))

    @contextmanager
    def load_meanwhile(self, server, request):
        """Sends @request during the block, again and again; yields a dictionary, full after it."""
        argv = self._load_argv(server, request, MANY, 1, 200, None)
        client = subprocess.Popen([str(a) for a in argv], env=environment(),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        figures = {}
        try:
            yield figures
        finally:
            client.terminate()
            output, complaint = client.communicate()
        if client.returncode != 0:
            raise BenchError(f"load: {complaint.strip()[:500]}")
        figures.update(json.loads(output))

    def _load_argv(self, server, request, count, clients, status, expect, gap_ms=0):
        file = self.directory / "request"
        file.write_bytes(request)
        argv = [self.directory / "load", "-p", server.port, "-c", clients, "-n", count,
                "-s", status, "-t", LIMIT_S, "-g", gap_ms]
        if expect:
            argv += ["-e", expect]
        return [*argv, file]

    def files(self, server, token, target, size, count=1, clients=1, put=False, statuses=(200,)):
        """file_load's figures for @count downloads, or uploads, of @size bytes each.

        In @target {} is the file's number, six digits from 000000 on.
        """
        argv = [self.directory / "file_load", "-p", server.port, "-z", size, "-n", count,
                "-c", clients, "-a", token, "-t", LIMIT_S]
        for status in statuses:
            argv += ["-s", status]
        return json.loads(self._run([*argv, *(["-u"] if put else []), target]))

    def ws(self, terminals, mode, paths, count, gap_ms=None, prompt=False):
        """The figures of ws_load in a mode that has no stages; @terminals is of terminals.py."""
        return json.loads(self._run(self._ws_argv(terminals, mode, paths, count, gap_ms=gap_ms,
                                                  prompt=prompt)))

    @contextmanager
    def ws_stages(self, terminals, mode, paths, count, stall_s=None, prompt=False):
        """Runs ws_load in a mode that has; yields a function that returns the next one's figures.

        ws_load stays where it is until that is called again, or the block ends.
        """
        argv = self._ws_argv(terminals, mode, paths, count, stall_s=stall_s, prompt=prompt)
        client = subprocess.Popen(argv, env=environment(), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        is_first = True

        def next_stage():
            nonlocal is_first
            if not is_first:
                client.stdin.write("\n")
                client.stdin.flush()
            is_first = False
            line = client.stdout.readline()
            if not line:
                raise BenchError(f"{terminals.name}, {mode}: {client.stderr.read().strip()[:500]}")
            return json.loads(line)

        try:
            yield next_stage
            client.stdin.close()
            if client.wait(LIMIT_S) != 0:
                raise BenchError(f"{terminals.name}, {mode}: {client.stderr.read().strip()[:500]}")
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
            for pipe in (client.stdin, client.stdout, client.stderr):
                with suppress(BrokenPipeError):
                    pipe.close()

    def _ws_argv(self, terminals, mode, paths, count, gap_ms=None, stall_s=None, prompt=False):
        argv = [self.directory / "ws_load", "-m", mode, "-P", terminals.protocol,
                "-p", terminals.server.port, "-n", count, "-t", LIMIT_S + (stall_s or 0)]
        for option, value in (("-a", terminals.server.token), ("-g", gap_ms), ("-s", stall_s)):
            if value is not None:
                argv += [option, value]
        if prompt:
            argv.append("-w")
        return [str(a) for a in (*argv, *paths)]

    def floor(self, argv, count, cwd=None, env=None):
        """The figures of @count bare spawns of @argv."""
        return json.loads(self._run([self.directory / "spawn_floor", count, LIMIT_S, *argv], cwd, env))

    @staticmethod
    def _run(argv, cwd=None, env=None):
        argv = [str(a) for a in argv]
        try:
            done = subprocess.run(argv, env=env or environment(), cwd=cwd, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=LIMIT_S + 10)
        except FileNotFoundError as e:
            raise BenchError(f"{argv[0]} is not installed") from e
        except subprocess.TimeoutExpired as e:
            raise BenchError(f"{Path(argv[0]).name} did not end within {LIMIT_S + 10} s") from e
        if done.returncode != 0:
            raise BenchError(f"{Path(argv[0]).name}: {(done.stderr or done.stdout).strip()[:500]}")
        return done.stdout


def in_turn(rounds, *sides):
    """Measures all sides in turn and returns their results as lists.

    One round of each is not counted (caches, first allocations); then another one begins with every
    round, so that a drift of the machine's speed is shared.
    """
    for side in sides:
        side()
    results = tuple([] for _ in sides)
    for i in range(rounds):
        for k in range(len(sides)):
            side = (i + k) % len(sides)
            results[side].append(sides[side]())
    return results
