# SPDX-License-Identifier: Apache-2.0
"""The benchmark of background jobs; docs/BENCHMARKS.md says what each figure means."""

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from report import ratio_row, value_row
from servers import BenchError
from tools import in_turn

SLEEP = {"command": "sleep", "args": ["300"], "name": "bench"}
START_LIMIT_S = 30


def bench_jobs(b):
    """Background jobs: what starting costs, what a crowd costs, and a flood of output."""
    yield from start_rows(b)
    yield from crowd_rows(b)
    yield from flood_rows(b)


@contextmanager
def agent_with_jobs(b):
    """An agent whose jobs are ended before it is: they would outlive it."""
    with b.agent() as agent:
        try:
            yield agent
        finally:
            for job in jobs(agent, "running") + jobs(agent, "queued"):
                agent.ask("POST", f"/execute/kill/{job['process_id']}", {"grace": 0})


def jobs(agent, status):
    code, raw = agent.ask("GET", f"/execute/processes?limit=1000&status={status}")
    if code != 200:
        raise BenchError(f"GET /execute/processes answered {code} {raw[:300]!r}")
    return json.loads(raw)["processes"]


def start_job(agent, body):
    code, raw = agent.ask("POST", "/commands/background", body)
    if code != 200:
        raise BenchError(f"POST /commands/background answered {code} {raw[:300]!r}")
    return json.loads(raw)["process_id"]


def start_rows(b):
    """From the request to the answer that names the job's pid."""
    count = b.few(200)
    body = {"command": "true", "args": []}
    with agent_with_jobs(b) as agent:
        request = agent.request("POST", "/commands/background", body)
        ours, floor = in_turn(
            b.rounds,
            lambda: b.tools.load(agent, request, count, expect='"success":true')["p50_us"] / 1e3,
            lambda: b.tools.floor(["/bin/true"], count)["p50_us"] / 1e3)
    yield value_row("POST /commands/background true, p50", "ms", ours, at_most=5)
    yield ratio_row("the same, / bare spawn", "ms", ours, floor)


def keepers_kb(agent):
    """Resident kB of each keeper among the agent's children."""
    sizes = []
    for task in Path(f"/proc/{agent.process.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            if (Path("/proc") / pid / "exe").resolve().name == "agent-keeper":
                status = (Path("/proc") / pid / "status").read_text().splitlines()
                resident = [line for line in status if line.startswith("VmRSS:")]
                sizes += [int(line.split()[1]) * 1.024 for line in resident]
    return sizes


def crowd(b, count):
    """Seconds until @count jobs of eight clients run and are listed; the agent's growth for each; a keeper's size."""
    with agent_with_jobs(b) as agent:
        request = agent.request("POST", "/commands/background", SLEEP)
        before = agent.own_kb()
        begin = time.perf_counter()
        b.tools.load(agent, request, count, clients=8, expect='"success":true')
        while (listed := len(jobs(agent, "running"))) < count:
            if time.perf_counter() - begin > START_LIMIT_S:
                raise BenchError(f"{listed} of {count} jobs run")
        seconds = time.perf_counter() - begin
        return seconds, (agent.own_kb() - before) / count, max(keepers_kb(agent))


def crowd_rows(b):
    """A hundred at once."""
    results = [crowd(b, 100) for _ in range(b.rounds)]
    yield value_row("100 jobs, until all run and are listed", "ms", [r[0] * 1e3 for r in results], at_most=1000)
    yield value_row("100 jobs, agent's memory for each", "kB", [r[1] for r in results])
    yield value_row("a keeper's memory, the largest of 100", "kB", [r[2] for r in results], at_most=1000)


def disk_mb(directory):
    """What the files really take."""
    return sum(f.stat().st_blocks * 512 for f in Path(directory).rglob("*") if f.is_file()) / 1e6


def flood_rows(b):
    """One job that writes as fast as it can, while another client asks for /health."""
    gigabytes = 1 if b.quick else 10
    body = {"command": f"head -c {gigabytes}000000000 /dev/zero", "timeout": 600}
    with agent_with_jobs(b) as agent:
        start_job(agent, {"command": "head -c 10000000 /dev/zero"})
        before = agent.own_kb() / 1e3
        samples, p99 = [], []
        process_id = start_job(agent, body)
        is_over = threading.Event()

        def watch():
            while not is_over.wait(0.05):
                samples.append(agent.own_kb() / 1e3)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            begin = time.perf_counter()
            request = agent.request("GET", "/health")
            while True:
                p99.append(b.tools.load(agent, request, 200)["p99_us"] / 1e3)
                code, raw = agent.ask("GET", f"/execute/processes/{process_id}/wait?timeout=0")
                job = json.loads(raw)
                if code != 200:
                    raise BenchError(f"wait answered {code} {raw[:300]!r}")
                if job["finished"]:
                    break
        finally:
            is_over.set()
            watcher.join()
        if (job["status"], job["stdout_bytes"]) != ("completed", gigabytes * 10**9):
            raise BenchError(f"the flood ended as {job['status']} with {job['stdout_bytes']} bytes")
        seconds = time.perf_counter() - begin
        yield value_row(f"flood of {gigabytes} GB, agent's growth", "MB", [max(samples) - before], at_most=4)
        yield value_row("the same, its files on the disk", "MB",
                        [disk_mb(agent.workspace.parent / "run" / "state" / "jobs" / process_id)], at_most=17)
        yield value_row("the same, p99 of /health meanwhile", "ms", p99, at_most=50)
        yield value_row("the same, throughput", "MB/s", [gigabytes * 1e3 / seconds])
