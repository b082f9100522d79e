#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures vm-agent against what is possible on this machine and prints ratios.

A benchmark reports, it does not gate: a missed bar is printed as MISS and the exit status stays 0.
It is 1 only when something could not be run. Needs nothing but Python's own library; see
docs/BENCHMARKS.md.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import BENCHMARKS, PARTS, Bench
from report import Row, as_json, print_table
from servers import BenchError, end_on_sigterm
from tools import Tools

ROOT = Path(__file__).resolve().parent.parent.parent
ALL = BENCHMARKS | PARTS


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", type=Path, default=ROOT / "build" / "vm-agent",
                        help="the program to measure")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of: " + ", ".join(ALL))
    parser.add_argument("--only", metavar="A,B", help="the same, as a list")
    parser.add_argument("--quick", action="store_true",
                        help="fewer and shorter rounds: faster, but noisier")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="also write every figure that was measured to FILE")
    parser.add_argument("--agent-option", action="append", default=[], metavar="OPTION",
                        help="for the agent, as in --agent-option=--log-level=warning; repeatable")
    arguments = parser.parse_args()

    arguments.names += arguments.only.split(",") if arguments.only else []
    arguments.names = arguments.names or list(BENCHMARKS)
    unknown = [name for name in arguments.names if name not in ALL]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(ALL)}")
    if not os.access(arguments.agent, os.X_OK):
        parser.error(f"{arguments.agent} cannot be run; ./dev build makes it")
    arguments.agent = arguments.agent.resolve()
    return arguments


def run(bench, names):
    """Runs the benchmarks one after the other; one that fails is a row, and the others go on."""
    rows = []
    for name in names:
        print(f"{name}: {ALL[name].__doc__}", file=sys.stderr, flush=True)
        try:
            for row in ALL[name](bench):
                rows.append(row)
        except (BenchError, OSError, ValueError) as e:
            rows.append(Row(name, "error", note=str(e)))
    return rows


def main():
    arguments = parse_arguments()
    end_on_sigterm()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="vm-agent-bench-") as scratch:
        try:
            tools = Tools(ROOT / "build-bench")
        except BenchError as e:
            print(f"the helpers cannot be built: {e}", file=sys.stderr)
            return 1
        bench = Bench(tools, arguments.agent, Path(scratch), arguments.agent_option,
                      arguments.quick)
        rows = run(bench, arguments.names)

    print_table(rows)
    cpus = len(os.sched_getaffinity(0))
    print(f"{cpus} processors, load {load:.2f} before. Ratios are ours / reference, of medians; "
          "the spread is that of single rounds.")
    if load > cpus / 2:
        print("This machine was busy: expect a wide spread.")
    if arguments.json:
        arguments.json.write_text(json.dumps({
            "machine": {"system": " ".join(os.uname()[i] for i in (0, 2, 4)), "processors": cpus,
                        "load": load},
            "quick": arguments.quick,
            "agent_options": arguments.agent_option,
            "rows": as_json(rows),
        }, indent=2) + "\n")
    return 1 if any(row.verdict == "error" for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
