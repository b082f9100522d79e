# SPDX-License-Identifier: Apache-2.0
"""GET /files/download while its file, its client or its agent does not stay as it was."""

import concurrent.futures
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from lib.downloads import AUTHORIZATION, LARGE, MIB, fetch, is_released, make, pattern, target
from lib.files import write
from lib.raw import RawConnection, head
from lib.waiting import is_plain_build, wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


class Slow:
    """A client that has taken the head of the answer, and little more."""

    def __init__(self, agent, path):
        self.connection = RawConnection(agent.port, receive_buffer=16 * 1024)
        self.connection.send(head("GET", target(path), AUTHORIZATION))
        self.head = self.connection.read_head()
        assert self.head.status_code == 200
        self.size = int(self.head.headers["Content-Length"])

    def finish(self):
        """The rest of the body; less than was promised when the connection ends before."""
        pieces = [self.connection.pending[: self.size]]
        left = self.size - len(pieces[0])
        while left > 0 and (piece := self.connection.socket.recv(min(left, MIB))):
            pieces.append(piece)
            left -= len(piece)
        self.connection.pending = b""
        return b"".join(pieces)


def test_a_file_that_is_replaced_while_it_is_sent(agent, space):
    old = make(space / "file", 16 * MIB, age=0)
    client = Slow(agent, space / "file")
    write(agent, space / "file", "new")
    assert client.finish() == old
    assert fetch(agent, space / "file").content == b"new"
    client.connection.close()


def test_a_file_that_is_removed_while_it_is_sent(agent, space):
    old = make(space / "file", 16 * MIB, age=0)
    client = Slow(agent, space / "file")
    (space / "file").unlink()
    assert client.finish() == old
    client.connection.close()


def test_a_file_that_shrinks_while_it_is_sent(agent, space):
    old = make(space / "file", 32 * MIB, age=0)
    client = Slow(agent, space / "file")
    os.truncate(space / "file", 16 * MIB)
    assert client.finish() == old[: 16 * MIB]
    client.connection.close()
    wait_until(lambda: is_released(agent, space), "the request to end")


def test_a_file_that_grows_while_it_is_sent(agent, space):
    old = make(space / "file", 16 * MIB, age=0)
    client = Slow(agent, space / "file")
    with open(space / "file", "ab") as file:
        file.write(b"x" * MIB)
    assert client.finish() == old
    # The connection goes on with the next answer.
    client.connection.send(head("GET", "/ping"))
    assert client.connection.read_response().status_code == 200
    client.connection.close()


def test_torn_small_files(agent, space):
    """Whoever downloads during atomic writes gets one version or another, whole, with the tag that belongs to it."""
    versions = [pattern(1000 + 7919 * number % 60_000, b"v") for number in range(20)]
    write(agent, space / "file", versions[0])
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        writes = pool.submit(lambda: [write(agent, space / "file", content) for content in versions])
        seen = {}
        while not writes.done():
            response = fetch(agent, space / "file")
            assert response.content in versions
            assert seen.setdefault(response.headers["ETag"].removeprefix("W/"), response.content) == response.content
        writes.result()


def test_clients_that_leave(agent, space):
    make(space / "large", 64 * MIB, age=0)
    make(space / "small", 100, age=0)
    for name in ("large", "small"):
        for read_first in (True, False):
            for leave in (RawConnection.close, RawConnection.reset):
                client = RawConnection(agent.port, receive_buffer=16 * 1024)
                client.send(head("GET", target(space / name), AUTHORIZATION))
                if read_first:
                    client.read_head()
                leave(client)
    wait_until(lambda: is_released(agent, space), "the requests to end", timeout=20)


def test_an_agent_that_stops_while_it_sends(new_agent):
    agent = new_agent(shutdown_grace="100ms")
    make(agent.workspace / "file", 64 * MIB, age=0)
    client = Slow(agent, agent.workspace / "file")
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(timeout=10) == 0
    client.connection.close()


def test_sixteen_clients_at_once(agent, space):
    contents = {space / f"{number}": make(space / f"{number}", size, age=0)
                for number, size in enumerate((0, 100, 65536, LARGE, 8 * MIB))}  # fmt: skip

    def work(seed):
        with httpx.Client(base_url=agent.url, headers=AUTHORIZATION, timeout=60) as client:
            for turn in range(6):
                path, content = list(contents.items())[(seed + turn) % len(contents)]
                response = client.get(target(path))
                assert response.status_code == 200 and response.content == content
                if len(content) > 1:
                    first = (seed * 7919) % len(content)
                    part = client.get(target(path), headers={"Range": f"bytes={first}-"})
                    assert part.status_code == 206 and part.content == content[first:]
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))
    wait_until(lambda: is_released(agent, space), "the requests to end")


@pytest.mark.skipif(not is_plain_build(), reason="memory of another kind")
def test_memory_stays_flat(agent, space):
    def resident():
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    with open(space / "file", "wb") as file:
        file.truncate(512 * MIB)
    fetch(agent, space / "file", {"Range": "bytes=0-100000"})
    before = resident()
    with agent.http.stream("GET", "/files/download", params={"path": str(space / "file")}) as response:
        assert sum(len(piece) for piece in response.iter_raw(MIB)) == 512 * MIB
    assert resident() - before < 4 * MIB
