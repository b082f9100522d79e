# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the metrics; docs/BENCHMARKS.md says what each figure means."""

import subprocess

from report import ratio_row, value_row
from tools import in_turn

PATHS = ("/metrics/snapshot", "/metrics/prometheus")


def use_all_routes(b, agent):
    """Each has numbers of its own from its first request on; whether it likes what it gets does not matter."""
    lines = subprocess.run([b.program, "routes"], check=True, capture_output=True, text=True).stdout.splitlines()
    for method, path, *_ in (line.split() for line in lines if line.split()[1:2]):
        if path.startswith("/") and path != "/metrics/stream":
            agent.ask(method, path.replace("{", "").replace("}", ""), {} if method != "GET" else None)


def bench_metrics(b):
    """What the numbers cost, when every route has some, against an answer that costs nothing."""
    with b.agent() as agent:
        use_all_routes(b, agent)
        ping = agent.request("GET", "/ping")
        for path in PATHS:
            request = agent.request("GET", path)
            ours, floor = in_turn(
                b.rounds,
                lambda request=request: b.tools.load(agent, request, b.few(1000))["p50_us"] / 1e3,
                lambda: b.tools.load(agent, ping, b.few(1000))["p50_us"] / 1e3)
            yield value_row(f"GET {path}, p50", "ms", ours, at_most=1)
            yield ratio_row(f"GET {path}, p50, against GET /ping", "ms", ours, floor)
