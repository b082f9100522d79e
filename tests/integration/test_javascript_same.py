# SPDX-License-Identifier: Apache-2.0
"""No program can tell the JavaScript driver from node itself: the same programs run by both, and by a driver that has
waited for them; all that can be observed is compared."""

import concurrent.futures
import os
import re
import shutil

import pytest

from lib.js_driver import node_version, run_cold, run_plain, run_waiting
from lib.js_programs import files_below, read_programs

pytestmark = [
    pytest.mark.plain_build,
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(node_version() < (20, 19), reason="this node takes no module for one that is named main.js"),
]

PROGRAMS = read_programs()
# Cold starts share all but the job with those that have waited: some of them will do.
COLD_EVERY = 8

PID = re.compile(rb"\(node:\d+\)")

# What differs by nature, and why.
BY_NATURE = {
    "errors: mark at the end of a line that fails": "node shows the line, and the mark before the last expression in it",
    "endings: async resource at the top": "it is called by the event loop, and so the ids of its resources are others",
    "system: require in a module": "require() is there in ES modules as well: people mix both worlds",
    "system: source of the program itself": "there is no file main.js; the workspace may have one of its own",
}


def run_one(program, kind, run, root):
    """The outcome and the files of a program; its directories are as long whoever runs it, so that lines break alike."""
    root = root / kind
    cwd = program.lay_out(root)
    script = cwd / "main.js"
    if kind != "plain":
        script = root.parent / f"{kind}.script"
    script.write_bytes(program.bytes())
    outcome = run(script, cwd, program.stdin, program.env)

    def same(data):
        return PID.sub(b"(node:PID)", data.replace(os.fsencode(root), b"$ROOT"))

    return {
        "stdout": same(outcome.stdout),
        "stderr": same(outcome.stderr),
        "status": outcome.status,
        "files": files_below(root),
    }


def run_all_ways(program, index, root):
    root.mkdir()
    kinds = {"plain": run_plain, "waits": run_waiting}
    if index % COLD_EVERY == 0:
        kinds["chill"] = run_cold
    return {kind: run_one(program, kind, run, root) for kind, run in kinds.items()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    root = tmp_path_factory.mktemp("same")
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        yield {
            program.name: pool.submit(run_all_ways, program, i, root / f"{i:03}")
            for i, program in enumerate(PROGRAMS)
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_same(outcomes, program):
    got = outcomes[program.name].result()
    if program.name in BY_NATURE:
        assert got["waits"] != got["plain"], "it does not differ any more: take it off the list"
        return
    for kind in got:
        assert got[kind] == got["plain"], kind


def test_there_are_enough_programs():
    names = [program.name for program in PROGRAMS]
    assert len(set(names)) == len(names) >= 200
    assert len(BY_NATURE) <= 5
    assert set(BY_NATURE) <= set(names)
