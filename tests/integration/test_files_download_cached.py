# SPDX-License-Identifier: Apache-2.0
"""GET /files/download of small files that the kernel has in its memory: no worker is needed, and nobody can tell."""

import concurrent.futures
import os
import subprocess
import time
from pathlib import Path

import pytest

from lib.downloads import fetch, pattern
from lib.frozen import frozen_workers
from lib.waiting import wait_until, wrapper

SIZE = 60_000
# Options of requests; {tag} is the file's.
REQUESTS = {
    "all": {},
    "head": {"method": "HEAD"},
    "range": {"headers": {"Range": "bytes=10-19"}},
    "tail": {"headers": {"Range": "bytes=-5"}},
    "head of a range": {"method": "HEAD", "headers": {"Range": "bytes=10-19"}},
    "not changed": {"headers": {"If-None-Match": "{tag}"}},
    "changed": {"headers": {"If-Match": '"other"'}},
    "the rest of it": {"headers": {"Range": "bytes=100-", "If-Range": "{tag}"}},
    "behind its end": {"headers": {"Range": f"bytes={SIZE}-"}},
}

pytestmark = pytest.mark.skipif(wrapper() != "none", reason="the agent's threads are others")


@pytest.fixture
def space(agent, tmp_path_factory):
    """A directory where files are read at once."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", agent.workspace], capture_output=True, text=True).stdout.strip()
    if kind not in ("ext2/ext3", "xfs", "btrfs"):
        pytest.skip(f"files of {kind} are not")
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def make(path, size=SIZE):
    """A file in the page cache, whose time of access is not written when it is read."""
    path.write_bytes(pattern(size))
    with path.open("rb") as file:
        os.fsync(file)
    now = time.time()
    os.utime(path, (now + 60, now - 3600))
    path.read_bytes()
    return path


@pytest.fixture
def file(space):
    return make(space / "file")


def is_old(path):
    """Its tag is a strong one."""
    return time.time() - path.stat().st_ctime > 3.1


def evict(path):
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ask(agent, path, tag, method="GET", headers=None):
    headers = {name: value.format(tag=tag) for name, value in (headers or {}).items()}
    response = fetch(agent, path, headers, method)
    facts = {name: value for name, value in response.headers.items() if name not in ("date", "x-request-id")}
    if response.status_code >= 400:
        assert facts.pop("content-length") == str(len(response.content))
        document = response.json()
        return response.status_code, facts, document["code"], document["message"]
    return response.status_code, facts, response.content


def test_nobody_can_tell(agent, file):
    wait_until(lambda: is_old(file), "the file to be old", timeout=10, interval=0.1)
    tag = fetch(agent, file).headers["ETag"]
    assert not tag.startswith("W/")
    slow = {}
    for name, options in REQUESTS.items():
        evict(file)
        slow[name] = ask(agent, file, tag, **options)
    assert {answer[0] for answer in slow.values()} == {200, 206, 304, 412, 416}
    assert slow["all"][2] == pattern(SIZE)

    fetch(agent, file)  # what is mounted there is known for some time
    with frozen_workers(agent):
        quick = {name: ask(agent, file, tag, **options) for name, options in REQUESTS.items()}
        assert quick == slow
        assert agent.http.get("/files/download", params={"path": f"{file.parent.name}/file"}).content == pattern(SIZE)


@pytest.mark.parametrize("why", ["cold", "large", "changed", "missing", "not allowed"])
def test_the_rest_waits_for_a_worker(agent, space, file, why):
    other = space / "other"
    if why == "large":
        make(other, 65537)
    elif why == "not allowed":
        other = Path("/etc/passwd")
    elif why != "missing":
        make(other)
    if why == "changed":
        other.write_bytes(b"new")
        os.utime(other, (time.time() - 60, time.time() - 60))
    fetch(agent, file)
    if why == "cold":
        evict(other)
    status = {"missing": 404, "not allowed": 403}.get(why, 200)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        with frozen_workers(agent):
            answer = pool.submit(fetch, agent, other)
            wait_until(lambda: agent.gauges()["requests_live"] >= 2, "the request to come")
            assert agent.http.get("/ping").status_code == 200  # the loop goes on
            assert not answer.done()
        response = answer.result()
    assert response.status_code == status
    assert status != 200 or response.content == other.read_bytes()
