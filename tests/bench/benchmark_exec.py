# SPDX-License-Identifier: Apache-2.0
"""The benchmark of running code; docs/BENCHMARKS.md says what each figure means."""

import json
import shutil
import subprocess
import time
from functools import partial

from report import Row, ratio_row, value_row
from science import Kernel, install
from servers import BenchError, environment
from tools import in_turn

GO_CODE = 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println(1)\n}\n'
PYTHON_CODE = "print(1)"
LANGUAGES = {
    # name: (source, how to start it by hand, runs per round, bar)
    "bash": ("echo 1", ["bash", "-c"], 50, None),
    "python": (PYTHON_CODE, ["python3", "-c"], 30, 0.3),
    "javascript": ("console.log(1)", ["node", "-e"], 30, 0.2),
    "go": (GO_CODE, ["go", "run"], 10, 0.05),
}
IMPORTS = "import numpy, pandas\nimport matplotlib.pyplot as plt\n"
FIGURE = "plt.plot([3, 1, 2])\n"
# What the agent does with a figure that is open at the end.
SAVE = "import io\nplt.savefig(io.BytesIO(), format='png', bbox_inches='tight')\n"
CROWD = 50
# Between an answer and the next request: nobody asks again at once, and what waits for code is born meanwhile.
GAP_MS = 100
POOLS_LIMIT_S = 60


def bench_exec(b):
    """Running code: each language, a figure, a Jupyter kernel, a crowd, and what the pools cost."""
    programs, reason = install(b.tools.directory / "science")
    if not programs:
        yield Row("numpy, pandas, matplotlib and Jupyter", "skipped", note=reason)
    with b.agent() as agent:
        for language, (code, by_hand, count, bar) in LANGUAGES.items():
            yield from language_rows(b, agent, language, code, by_hand, count, bar)
        yield from crowd_rows(b, agent)
        if programs:
            yield from jupyter_rows(b, agent, programs)
    if programs:
        with b.agent(path=programs) as agent:
            yield from science_rows(b, agent, programs)
    yield from memory_rows(b, programs)


def prepared(agent, path, body, field="stdout", value="1\n"):
    """The bytes of a request, and what its answers must contain; checked once."""
    status, raw = agent.ask("POST", path, body)
    if status != 200 or json.loads(raw).get(field) != value:
        raise BenchError(f"POST {path} answered {status} {raw[:500]!r}")
    return agent.request("POST", path, body), f'"{field}":{json.dumps(value)}'


def p50_and_p99(name, ours, theirs, at_most):
    """Two rows of figures that were measured in turn."""
    for key, bar in (("p50_us", at_most), ("p99_us", None)):
        yield ratio_row(f"{name}, {key[:3]}", "ms", [f[key] / 1e3 for f in ours],
                        [f[key] / 1e3 for f in theirs], at_most=bar)


def language_rows(b, agent, language, code, by_hand, count, bar):
    """One line of it, against the interpreter started by hand with the same line."""
    name = f"/execute {language} / {' '.join(by_hand)}"
    if not shutil.which(by_hand[0], path=environment()["PATH"]):
        yield Row(name, "skipped", note=f"{by_hand[0]} is not installed")
        return
    if language == "go":
        file = agent.workspace / "main.go"
        file.write_text(code)
        argv = [*by_hand, file]
    else:
        argv = [*by_hand, code]
    request, expect = prepared(agent, "/execute", {"code": code, "language": language})
    sides = in_turn(
        b.rounds,
        lambda: b.tools.load(agent, request, b.few(count), expect=expect, gap_ms=GAP_MS),
        lambda: b.tools.floor(argv, b.few(count), agent.workspace),
        lambda: b.tools.load(agent, request, b.few(count), expect=expect))
    yield from p50_and_p99(name, *sides[:2], at_most=bar)
    yield from p50_and_p99(name + ", back to back", sides[2], sides[1], at_most=None)


def crowd_by_hand(count):
    """Runs per second of @count interpreters, CROWD at once."""
    argv = ["xargs", "-P", str(CROWD), "-n", "1", "python3", "-c", PYTHON_CODE]
    begin = time.perf_counter()
    done = subprocess.run(argv, input="x\n" * count, env=environment(), capture_output=True,
                          text=True, timeout=120)
    if done.returncode != 0 or done.stdout != "1\n" * count:
        raise BenchError(f"xargs python3: {done.stderr[:300]}")
    return count / (time.perf_counter() - begin)


def crowd_rows(b, agent):
    """Many at once."""
    count = b.few(400)
    request, expect = prepared(agent, "/execute", {"code": PYTHON_CODE, "language": "python"})
    ours, theirs = in_turn(
        b.rounds,
        lambda: b.tools.load(agent, request, count, CROWD, expect=expect)["per_second"],
        lambda: crowd_by_hand(count))
    yield ratio_row(f"{CROWD} at once: python / python3 -c", "/s", ours, theirs, at_least=4)


def jupyter_rows(b, agent, programs):
    """The same line in a kernel that is there already."""
    count = b.few(30)
    request, expect = prepared(agent, "/execute", {"code": PYTHON_CODE, "language": "python"})
    with Kernel(programs, count, GAP_MS, PYTHON_CODE) as kernel:
        ours, plain, quick = in_turn(
            b.rounds,
            lambda: b.tools.load(agent, request, count, expect=expect, gap_ms=GAP_MS),
            lambda: kernel.measure("plain"),
            lambda: kernel.measure("quickack"))
    yield from p50_and_p99("/execute python / Jupyter kernel", ours, plain, at_most=None)
    yield from p50_and_p99("/execute python / Jupyter kernel, quick ACKs", ours, quick, at_most=1.0)


def science_rows(b, agent, programs):
    """The libraries that take long to import, alone and with a figure."""
    env = {**environment(), "PATH": f"{programs}:{environment()['PATH']}", "MPLBACKEND": "Agg"}
    for name, code, bar in (("numpy, pandas, matplotlib", IMPORTS, 0.03),
                            ("the same and a figure", IMPORTS + FIGURE, None)):
        file = agent.workspace / "science.py"
        file.write_text(code + (SAVE if FIGURE in code else "") + "print(1)\n")
        body = {"code": code + "print(1)\n", "language": "python"}
        request, expect = prepared(agent, "/execute/rich", body)
        if FIGURE in code and not json.loads(agent.ask("POST", "/execute/rich", body)[1]).get("png"):
            raise BenchError("/execute/rich returned no figure")
        sides = in_turn(
            b.rounds,
            lambda: b.tools.load(agent, request, b.few(30), expect=expect, gap_ms=GAP_MS),
            partial(b.tools.floor, ["python3", file], 2 if b.quick else 4, agent.workspace, env))
        yield from p50_and_p99(f"/execute/rich {name} / python3", *sides, at_most=bar)


def wait_for_pools(agent, programs):
    """Until each pool has a process ready; what they are."""
    for language, code in (("python", PYTHON_CODE), ("javascript", "console.log(1)")):
        prepared(agent, "/execute", {"code": code, "language": language})
    if programs:
        prepared(agent, "/execute", {"code": IMPORTS + "print(1)\n", "language": "python"})
    limit = time.monotonic() + POOLS_LIMIT_S
    while True:
        _, raw = agent.ask("GET", "/metrics/snapshot")
        pools = json.loads(raw)["agent"]["warm"]
        used = [p for name, p in pools.items() if programs or name != "python-scientific"]
        if all(p["ready"] > 0 for p in used):
            return
        if time.monotonic() > limit:
            raise BenchError(f"the pools are not ready: {pools}")
        time.sleep(0.1)


def memory_rows(b, programs):
    """What the pools cost while nothing runs: shared memory counts once."""
    with b.agent(path=programs) as agent:
        wait_for_pools(agent, programs)
        yield value_row("memory with all pools, idle", "MB", [agent.proportional_kb() / 1e3],
                        at_most=150)
        yield value_row("of it the daemon", "MB", [agent.own_kb() / 1e3], at_most=15)
    with b.agent(options=["--warm=false"]) as agent:
        prepared(agent, "/execute", {"code": PYTHON_CODE, "language": "python"})
        yield value_row("memory without pools, idle", "MB", [agent.own_kb() / 1e3], at_most=12)
