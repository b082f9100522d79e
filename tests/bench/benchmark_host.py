# SPDX-License-Identifier: Apache-2.0
"""What the agent tells about the machine and itself, against an answer that tells nothing."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from report import ratio_row, value_row
from servers import BenchError, environment
from tools import in_turn

# Forked by one process, so that they are there in no time; its group dies with it.
CROWD = """
import os, signal, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        signal.pause()
print("ready", flush=True)
signal.pause()
"""


@contextmanager
def crowd(count):
    """At least so many more processes that do nothing."""
    process = subprocess.Popen([sys.executable, "-c", CROWD, str(count)], env=environment(), text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    try:
        if process.stdout.readline() != "ready\n":
            raise BenchError(f"no {count} processes can be started")
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def milliseconds(b, agent, path, key="p50_us"):
    """Of one client that asks again and again."""
    return b.tools.load(agent, agent.request("GET", path), b.few(1000))[key] / 1e3


def bench_host(b):
    """What the agent tells about the machine, about itself and about all processes."""
    with b.agent() as agent:
        for path in ("/system", "/metrics/snapshot"):
            status, raw = agent.ask("GET", path)
            if status != 200:
                raise BenchError(f"GET {path} answered {status} {raw[:300]!r}")
            ours, ping = in_turn(b.rounds, lambda: milliseconds(b, agent, path),
                                 lambda: milliseconds(b, agent, "/ping"))
            yield value_row(f"GET {path}, p50", "ms", ours, at_most=1)
            yield ratio_row("the same against GET /ping", "ms", ours, ping)
        there = json.loads(agent.ask("GET", "/processes?limit=8192")[1])["total"]
        with crowd(max(0, 500 - there)):
            request = agent.request("GET", "/processes")
            alone, several = ([b.tools.load(agent, request, b.few(200), clients)["p50_us"] / 1e3
                               for _ in range(b.rounds)] for clients in (1, 8))
            yield value_row("GET /processes, 500 of them, p50", "ms", alone, at_most=10)
            yield value_row("the same, eight clients, p50", "ms", several)
            lag = json.loads(agent.ask("GET", "/metrics/snapshot")[1])["agent"]["loop_lag_max_ms"]
            yield value_row("how late the loop was at most", "ms", [lag], at_most=10)
