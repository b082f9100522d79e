# SPDX-License-Identifier: Apache-2.0
"""Many changes: what is told, replayed, is what is on the disk; and clients that cannot keep up lose nothing."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

from lib.agent import Agent, in_memory
from lib.file_watch import Watcher, replay, root, scan, wait_until_nothing_is_left  # noqa: F401 (fixture)
from lib.waiting import is_plain_build, time_factor

DEFAULTS = (".git", "node_modules", "__pycache__")
N_FILES = 10000 if is_plain_build() else 2000

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git")


@pytest.fixture(scope="module")
def agent():
    with in_memory():
        agent = Agent()
    yield agent
    agent.close()


def run(*arguments, cwd):
    subprocess.run(arguments, cwd=cwd, check=True, capture_output=True, timeout=120 * time_factor())


def python(code, cwd):
    """In a process of its own, so that the client is not held up."""
    return subprocess.Popen([sys.executable, "-c", code], cwd=cwd)


def resident(agent):
    """Bytes."""
    with open(f"/proc/{agent.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def read_until_equal(watcher, known, root, leave_out=()):  # noqa: F811
    """Until what the client knows is what is on the disk."""
    deadline = time.monotonic() + 30 * time_factor()
    on_disk = scan(root, leave_out)
    while True:
        known = replay(known, watcher.read_until_quiet(0.15).changes)
        watcher.forget()
        if known == on_disk or time.monotonic() > deadline:
            break
    assert known == on_disk
    return known


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "files.tar"
    with tarfile.open(path, "w") as tar:
        for i in range(N_FILES):
            member = tarfile.TarInfo(f"d{i % 100}/e{i % 7}/file-{i}")
            member.size = 100
            tar.addfile(member, io.BytesIO(b"x" * 100))
    return path


@pytest.mark.parametrize("batch", [True, False])
def test_an_archive(agent, root, archive, batch):  # noqa: F811
    """Unpacked, renamed and deleted."""
    with Watcher(agent, root, batch=batch) as watcher:
        known = {}
        again = [["tar", "xf", archive]] if batch else []  # the client needs a second for each 10,000 frames
        for step in (
            ["tar", "xf", archive],
            ["sh", "-c", "for d in d*; do mv $d renamed-$d; done"],
            ["sh", "-c", "rm -r renamed-d1* && mv renamed-d2 renamed-d3/e1"],
            *again,
            ["sh", "-c", "rm -r ./*"],
        ):
            run(*step, cwd=root)
            known = read_until_equal(watcher, known, root)
    assert known == {}


@needs_git
def test_a_checkout(agent, root):  # noqa: F811
    """Two branches that differ in thousands of files; what git itself keeps is not told."""

    def git(*arguments):
        run("git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments, cwd=root)

    def fill(branch, n_directories):
        python(
            f"""
import pathlib
for i in range({n_directories} * 100):
    below = f"{branch}/file-{{i}}" if i % 3 else f"f{{i}}"
    path = pathlib.Path(f"d{{i % {n_directories}}}") / below
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{branch}" * (i % 10))
""",
            root,
        ).wait()
        git("add", ".")
        git("commit", "-q", "-m", branch)

    git("init", "-q", "-b", "one")
    fill("one", 20)
    git("checkout", "-q", "-b", "two")
    git("rm", "-q", "-r", ".")
    fill("two", 30)
    known = scan(root, DEFAULTS)
    with Watcher(agent, root) as watcher:
        for branch in ("one", "two", "one"):
            git("checkout", "-q", branch)
            known = read_until_equal(watcher, known, root, DEFAULTS)
    assert not any("/.git/" in path for path in known)


def test_a_client_that_does_not_read(agent, root):  # noqa: F811
    """The agent's memory stays small, the others are not disturbed, and in the end the client knows everything."""
    with Watcher(agent, root, batch=True) as slow, Watcher(agent, root / "..", batch=True) as other:
        before = resident(agent)
        code = """
import os
for i in range(20000):
    open(f"a{i}", "w").close()
    if i % 2:
        os.rename(f"a{i}", f"b{i}")
    if i % 5 == 0:
        os.mkdir(f"d{i}")
        open(f"d{i}/x", "w").close()
"""
        maker = python(code, root)
        while maker.poll() is None:
            other.read_until_quiet(0.1)
        (root / "last").touch()
        other.read_until("created", root / "last")
        assert agent.http.get("/health").status_code == 200
        assert resident(agent) - before < 48 * 1024 * 1024 * time_factor()
        read_until_equal(slow, {}, root)


def test_more_than_can_be_remembered(agent, root):  # noqa: F811
    """With a client that reads nothing, so many names are marked that the agent gives up and compares."""
    (root / "d").mkdir()
    with Watcher(agent, root / "d", batch=True) as watcher:
        # Fills what is on the way to the client, so that its watch waits.
        python(f"for i in range(25000): open('{'x' * 180}%d' % i, 'w').close()", root / "d").wait()
        python(f"for i in range(75000): open('{'y' * 180}%d' % i, 'w').close()", root / "d").wait()
        read_until_equal(watcher, {}, root / "d")
    overflows = [message for message in watcher.messages if message["type"] == "overflow"]
    assert overflows and overflows[0]["path"] == str(root / "d"), json.dumps(watcher.messages[-1])
    wait_until_nothing_is_left(agent)
