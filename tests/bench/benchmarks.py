# SPDX-License-Identifier: Apache-2.0
"""The benchmarks. Each is a generator of rows; docs/BENCHMARKS.md says what each figure means."""

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmark_exec import bench_exec
from benchmark_files import bench_files, bench_small_files
from benchmark_host import bench_host
from benchmark_jobs import bench_jobs
from benchmark_metrics import bench_metrics
from benchmark_terminal import bench_terminal
from report import Row, ratio_row, value_row
from servers import Agent, BenchError, Peer, Reference
from tools import Tools, in_turn

TEN_MB = "head -c 10000000 /dev/zero | tr '\\0' x"


@dataclass
class Bench:
    """What the benchmarks share."""

    tools: Tools
    program: Path
    scratch: Path
    agent_options: list
    quick: bool

    def agent(self, options=(), path=None):
        """A new agent; programs in the directory @path come first."""
        return Agent(self.program, self.scratch, [*self.agent_options, *options], path)

    @property
    def rounds(self):
        return 3 if self.quick else 7

    def few(self, count):
        """@count, or less of it when it has to be quick."""
        return max(2, count // 4) if self.quick else count


def expected_text(server, path, body, field, value):
    """Asks once, checks that @field of the answer is @value; returns how the body spells that."""
    status, raw = server.ask("POST", path, body)
    if status != 200 or json.loads(raw).get(field) != value:
        raise BenchError(f"{server.name}: POST {path} answered {status} {raw[:300]!r}")
    for colon in (":", ": "):
        text = json.dumps(field) + colon + json.dumps(value)
        if text.encode() in raw:
            return text
    raise BenchError(f"{server.name}: POST {path}: {field} is written in an unknown way")


def bench_http(b):
    """Requests per second against a server that does nothing but answer."""
    # One processor for the server and one for the client: where the scheduler puts them would
    # otherwise decide more than the servers do.
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, client_cpu = (cpus[0], cpus[-1]) if len(cpus) > 1 else (None, None)
    post = {"language": "python"}
    with b.agent() as agent, Reference(b.tools.directory / "reference_server") as reference:
        without, _ = agent.ask("POST", "/execute", post, with_token=False)
        status, answer = agent.ask("POST", "/execute", post)
        field = json.loads(answer).get("details", {}).get("field")
        if (without, status, field) != (401, 400, "/code"):
            raise BenchError(f"POST /execute {post}: {without} without a token, {status} with one: "
                             f"{answer[:300]!r}")
        if server_cpu is not None:
            agent.pin(server_cpu)
            reference.pin(server_cpu)
        for path, body, bar in (("/health", None, 0.65), ("/execute", post, 0.5)):
            for connections in (1, 16, 64):
                refused = body is not None
                ours, theirs = in_turn(
                    b.rounds,
                    lambda: b.tools.wrk(agent, path, connections, body, refused, client_cpu),
                    lambda: b.tools.wrk(reference, path, connections, body, False, client_cpu))
                name = f"POST {path}, JWT, 400" if body else f"GET {path}"
                row = ratio_row(f"{name}, {connections} conn", "/s", ours, theirs,
                                at_least=bar if connections == 16 or body else None)
                if body and connections == 1:
                    row.note = (f"the body is {json.dumps(body)}: token and JSON are checked, "
                                "then code is missing")
                yield row


def bench_commands(b):
    """A command that does nothing, against the same by bare uv_spawn."""
    count = b.few(300)
    body = {"command": "true", "args": []}
    with b.agent() as agent:
        expect = expected_text(agent, "/commands/run", body, "exit_code", 0)
        request = agent.request("POST", "/commands/run", body)
        ours, floor = in_turn(
            b.rounds,
            lambda: b.tools.load(agent, request, count, expect=expect)["p50_us"] / 1e3,
            lambda: b.tools.floor(["/bin/true"], count)["p50_us"] / 1e3)
        yield ratio_row("POST /commands/run true, p50", "ms", ours, floor, at_most=1.6)


def bench_memory(b):
    """Resident memory, idle and after many requests."""
    body = {"command": "true", "args": []}
    rounds = 2 if b.quick else 10
    with b.agent() as agent:
        idle = agent.resident_kb()
        expect = expected_text(agent, "/commands/run", body, "exit_code", 0)
        health = agent.request("GET", "/health")
        command = agent.request("POST", "/commands/run", body)

        def thousand():
            b.tools.load(agent, health, 500, clients=8)
            b.tools.load(agent, command, 500, clients=8, expect=expect)

        # Tables and the allocator's arenas grow once; that is not growth, so they are filled first.
        thousand(), thousand()
        before = agent.resident_kb()
        for _ in range(rounds):
            thousand()
        after = agent.resident_kb()
        yield value_row("resident memory, idle", "MB", [idle / 1e3], at_most=10)
        yield value_row(f"resident memory, after {(rounds + 2) * 1000:,} requests", "MB",
                        [after / 1e3])
        # 256 kB for what the allocator may round up: 26 bytes per request.
        yield value_row(f"growth over the last {rounds * 1000:,}", "kB", [after - before],
                        at_most=256)


def measure_start(make_server):
    """The start time of a new server, which ends again."""
    with make_server() as server:
        return server.start_ms


def bench_start(b):
    """From the fork to the first answer."""
    measure_start(b.agent)  # not counted: reads the program from the disk
    times = [measure_start(b.agent) for _ in range(5 if b.quick else 15)]
    yield value_row("start to first answer", "ms", times, at_most=25)


def bench_output(b):
    """10 MB of output, against the same command piped into memory."""
    count = b.few(12)
    body = {"code": TEN_MB, "language": "bash"}
    with b.agent() as agent:
        _, raw = agent.ask("POST", "/execute", body)
        if len(json.loads(raw).get("stdout", "")) != 10_000_000:
            raise BenchError(f"10 MB of output: {raw[:300]!r}")
        request = agent.request("POST", "/execute", body)

        def ours():
            result = b.tools.load(agent, request, count)
            if result["body_bytes"] < 10_000_000:
                raise BenchError(f"10 MB of output: {result}")
            return result["p50_us"] / 1e3

        def floor():
            result = b.tools.floor(["bash", "-c", TEN_MB], count)
            if result["stdout_bytes"] != 10_000_000:
                raise BenchError(f"10 MB of output by hand: {result}")
            return result["p50_us"] / 1e3

        yield ratio_row("POST /execute, 10 MB stdout, p50", "ms", *in_turn(b.rounds, ours, floor))


def bench_peer(b):
    """The same command through the sandbox agent that npm has."""
    program, reason = Peer.install(b.tools.directory / "peer")
    if not program:
        yield Row("npm peer", "skipped", note=reason)
        return

    def start_peer():
        return Peer(program, b.tools.directory / "peer" / "home")

    with b.agent() as agent, start_peer() as peer:
        idle = agent.resident_kb() / 1e3, peer.resident_kb() / 1e3
        sides = []
        for server, path, body, field in (
                (agent, "/commands/run", {"command": "/bin/true", "args": []}, "exit_code"),
                (peer, "/v1/processes/run", {"command": "/bin/true"}, "exitCode")):
            sides.append((server, server.request("POST", path, body),
                          expected_text(server, path, body, field, 0)))

        for clients, count in ((1, 300), (8, 600), (32, 1200)):
            def figures_of(server, request, expect):
                return b.tools.load(server, request, b.few(count), clients, expect=expect)

            results = in_turn(b.rounds, *(partial(figures_of, *side) for side in sides))
            p50, p99, rate = (
                [[figures[key] / scale for figures in side] for side in results]
                for key, scale in (("p50_us", 1e3), ("p99_us", 1e3), ("per_second", 1)))
            name = f"peer: /bin/true, {clients} client{'s' if clients > 1 else ''}"
            yield ratio_row(f"{name}, p50", "ms", *p50, at_most=1.0 if clients == 1 else None)
            yield ratio_row(f"{name}, p99", "ms", *p99)
            yield ratio_row(f"{name}, rate", "/s", *rate, at_least=1.2 if clients == 32 else None)
        used = agent.resident_kb() / 1e3, peer.resident_kb() / 1e3

    yield ratio_row("peer: resident memory, idle", "MB", [idle[0]], [idle[1]])
    yield ratio_row("peer: resident memory, after that", "MB", [used[0]], [used[1]])
    runs = 5 if b.quick else 15
    ours, theirs = in_turn(runs, lambda: measure_start(b.agent), lambda: measure_start(start_peer))
    yield ratio_row("peer: start to first answer", "ms", ours, theirs)


BENCHMARKS = {
    "http": bench_http,
    "commands": bench_commands,
    "exec": bench_exec,
    "memory": bench_memory,
    "start": bench_start,
    "output": bench_output,
    "peer": bench_peer,
    "terminal": bench_terminal,
    "jobs": bench_jobs,
    "files": bench_files,
    "host": bench_host,
    "metrics": bench_metrics,
}
# What is run by its name only, because it is in one of those.
PARTS = {
    "small-files": bench_small_files,
}
