# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload: small ones, which are received first, and many at once."""

import select
import socket

import pytest

from lib import procfs, tokens
from lib.expect import expect_error
from lib.frozen import frozen_workers
from lib.raw import RawConnection, head
from lib.waiting import is_plain_build

KIB = 1024
MIB = 1024 * 1024
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}
BOUNDARY = "--------------------------318243"


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def put_head(path, size, **more):
    return head("PUT", f"/files/upload?path={path}", {**AUTHORIZATION, "Content-Length": size, **more})


SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["plain", "expect", "pieces"])
def test_sizes(agent, space, size, way):
    content = bytes(i % 251 for i in range(size))
    with RawConnection(agent.port) as client:
        for number in range(2):
            path = space / f"file{number}"
            client.send(put_head(path, size, **({"Expect": "100-continue"} if way == "expect" else {})))
            if way == "expect" and size > 0:
                assert client.read_head().status_code == 100
            cut = size // 2 if way == "pieces" else 0
            client.send(content[:cut])
            client.send(content[cut:])
            response = client.read_response()
            assert response.status_code == 200, response
            assert response.headers["Content-Type"] == "application/json"
            assert response.json()["size"] == size
            assert path.read_bytes() == content


@pytest.mark.parametrize("size", SIZES)
def test_refusals(agent, space, size):
    """The connection goes on, whatever was received first."""
    (space / "file").write_text("old")
    with RawConnection(agent.port) as client:
        client.send(put_head(f"{space}/file&overwrite=false", size))
        client.try_send(bytes(size))
        expect_error(client.read_response(), 409, "FILE_ALREADY_EXISTS")
    with RawConnection(agent.port) as client:
        client.send(put_head("/proc/1/x", min(size, 64 * KIB)) + bytes(min(size, 64 * KIB)))
        expect_error(client.read_response(), 403, "PATH_NOT_ALLOWED")
        client.send(head("GET", "/ping"))
        assert client.read_response().status_code == 200
    assert [path.name for path in space.iterdir()] == ["file"]
    assert (space / "file").read_text() == "old"


def test_small_ones_that_are_cut(agent, space):
    for size in (1, 1000, 64 * KIB):
        with RawConnection(agent.port) as client:
            client.send(put_head(space / "file", size) + bytes(size - 1))
            client.reset()
    agent.wait_until_idle()
    assert list(space.iterdir()) == []


def test_a_small_one_whose_client_leaves_before_its_turn(agent, space):
    assert agent.http.put("/files/upload", params={"path": f"{space}/first"}, content=b"x").status_code == 200
    with RawConnection(agent.port) as client:
        with frozen_workers(agent):
            client.send(put_head(space / "file", 3) + b"new")
            # Somebody else's request has been answered, so this one has come, too.
            assert agent.http.get("/ping").status_code == 200
            client.reset()
    agent.wait_until_idle()
    assert [path for path in space.iterdir() if path.name.startswith(".")] == []


def test_a_long_answer(agent, space):
    """It tells about all files of a form."""
    count = 1000
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{"n" * 100}{i}"\r\n\r\n{i}\r\n'
        for i in range(count)
    ]
    form = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="path"\r\n\r\n{space}/\r\n' + "".join(parts)
    response = agent.http.post(
        "/files/upload",
        content=f"{form}--{BOUNDARY}--\r\n".encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    document = response.json()
    assert response.status_code == 200 and document["success"] is True
    assert [row["name"] for row in document["files"]] == [f"{'n' * 100}{i}" for i in range(count)]
    assert document["size"] == sum(len(str(i)) for i in range(count))
    assert len(list(space.iterdir())) == count


def feed(clients, contents, left):
    """Sends what is taken; returns when nothing has been taken for a while."""
    poller = select.poll()
    by_fd = {}
    for client in clients:
        if left[client] > 0:
            client.socket.setblocking(False)
            by_fd[client.socket.fileno()] = client
            poller.register(client.socket, select.POLLOUT)
    while by_fd and (events := poller.poll(500)):
        for fd, _ in events:
            client = by_fd[fd]
            try:
                left[client] -= client.socket.send(contents[-left[client]:][: 64 * KIB])
            except BlockingIOError:
                continue
            if left[client] == 0:
                poller.unregister(fd)
                del by_fd[fd]


def test_many_in_front_of_a_disk_that_stands_still(new_agent):
    """The memory of all of them together is limited."""
    count, size = 200, 2 * MIB
    agent = new_agent()
    contents = bytes(range(256)) * (size // 256)
    clients = [RawConnection(agent.port) for _ in range(count)]
    left = dict.fromkeys(clients, size)
    for number, client in enumerate(clients):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
        client.send(put_head(agent.workspace / f"{number}", size, Expect="100-continue"))
    for client in clients:
        assert client.read_head().status_code == 100

    with frozen_workers(agent):
        before = procfs.status_kib(agent.process.pid, "RssAnon")
        feed(clients, contents, left)
        growth = procfs.status_kib(agent.process.pid, "RssAnon") - before
        assert sum(left.values()) > 0
        if is_plain_build():
            assert growth < 72 * KIB, f"{growth} KiB"
    for client in clients:
        client.socket.settimeout(60)
        client.send(contents[size - left[client]:])
    for number, client in enumerate(clients):
        assert client.read_response().status_code == 200
        assert (agent.workspace / f"{number}").read_bytes() == contents
        client.close()
