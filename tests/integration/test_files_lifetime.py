# SPDX-License-Identifier: Apache-2.0
"""Operations on files whose client leaves, or whose agent stops."""

import contextlib
import json
import os
import signal
import socket
import time

import pytest

from lib import tokens
from lib.agent import in_memory
from lib.downloads import open_files
from lib.expect import expect_error, expect_json
from lib.files import get, post, remove, write
from lib.raw import ConnectionEnded, RawConnection, head
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def make_slow(directory):
    """A search takes seconds here."""
    directory.mkdir()
    for number in range(100):
        (directory / str(number)).write_text("a" * 3000 + "\n")


def send(agent, method, target, body=None):
    """A request whose answer is not waited for."""
    client = socket.create_connection(("127.0.0.1", agent.port))
    data = json.dumps(body).encode() if body else b""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens.token()}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    client.sendall(head.encode() + data)
    return client


def search(agent, directory):
    return send(agent, "GET", f"/files/search?pattern=(a%2B)%2B[bc]&path={directory}")


def live(agent):
    return agent.gauges()["requests_live"] - 1


def stop(agent):
    """In the middle of things. What was left behind is looked at when the test is over."""
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(timeout=10) == 0


def test_long_operations_leave_room_for_others(agent, space):
    make_slow(space / "slow")
    clients = [search(agent, space / "slow") for _ in range(8)]
    wait_until(lambda: live(agent) == 8, "the searches to begin")
    began = time.monotonic()
    write(agent, space / "file", "x")
    assert expect_json(get(agent, "stat", space / "file"))["size"] == 1
    assert time.monotonic() - began < 2
    for client in clients:
        client.close()
    wait_until(lambda: live(agent) == 0, "the searches to end")


def test_downloads_of_trees_take_turns_with_others(agent, space):
    """Those who take all that they get are no reason for others to wait until they are ready."""
    (space / "tree").mkdir()
    with open(space / "tree" / "large", "wb") as file:
        file.truncate(1 << 40)
    target = f"/files/download?format=tar.gz&path={space / 'tree'}"
    with send(agent, "GET", target), send(agent, "GET", target):
        wait_until(lambda: live(agent) == 2, "the downloads to begin")
        (space / "other").mkdir()
        body = {"path": str(space / "other"), "mode": "0700", "recursive": True}
        answer = agent.http.post("/files/chmod", json=body, timeout=5)
        assert expect_json(answer)["changed"] == 1 and live(agent) == 2
    wait_until(lambda: live(agent) == 0, "the downloads to end")


def test_so_many_may_wait(agent, space):
    """Neither those that come, nor those that turn out to be long, wait without end."""
    make_slow(space / "slow")
    (space / "tree").mkdir()
    (space / "tree" / "file").touch()
    (space / "large").write_bytes(bytes((16 << 20) + 1))
    with contextlib.ExitStack() as clients:
        for _ in range(2 + 256):
            clients.enter_context(search(agent, space / "slow"))
        wait_until(lambda: live(agent) == 2 + 256, "the searches to begin")
        for response in (
            get(agent, "search", space / "slow", pattern="x"),
            remove(agent, space / "tree"),
            post(agent, "copy", **{"from": str(space / "large"), "to": str(space / "copy")}),
        ):
            expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
        assert sorted(os.listdir(space)) == ["large", "slow", "tree"] and (space / "tree" / "file").exists()
    wait_until(lambda: live(agent) == 0, "the searches to end", timeout=20)
    assert expect_json(remove(agent, space / "tree"))["removed"] == 2


def test_a_copy_whose_client_leaves(agent, space):
    (space / "tree").mkdir()
    for number in range(3000):
        (space / "tree" / str(number)).write_text("x")
    for turn in range(5):
        body = {"from": str(space / "tree"), "to": str(space / "copy")}
        client = send(agent, "POST", "/files/copy", body)
        wait_until(lambda: live(agent) == 1 or (space / "copy").exists(), "the copy to begin")
        client.close()
        wait_until(lambda: live(agent) == 0, "the copy to end")
        left = set(os.listdir(space)) - {"tree"}
        assert left <= {"copy"}, f"turn {turn} left {left}"
        if left:
            assert len(os.listdir(space / "copy")) == 3000
            agent.http.delete("/files/remove", params={"path": str(space / "copy")})


@pytest.mark.parametrize("n", [1, 6])
def test_the_agent_stops(new_agent, n):
    """Some of the searches have not even begun."""
    agent = new_agent(shutdown_grace="100ms")
    make_slow(agent.workspace / "slow")
    clients = [search(agent, agent.workspace / "slow") for _ in range(n)]
    wait_until(lambda: live(agent) == n, "the searches to begin")
    stop(agent)
    for client in clients:
        client.close()


def test_the_agent_stops_in_an_upload(new_agent):
    """Whose client is slow, and owes no reading."""
    agent = new_agent(shutdown_grace="100ms")
    with RawConnection(agent.port) as client:
        authorization = tokens.bearer(tokens.token())
        client.send(head("PUT", "/files/upload?path=up", {**authorization, "Content-Length": 1 << 20}) + bytes(300_000))
        wait_until(lambda: live(agent) == 1, "the upload to begin")
        stop(agent)
    assert os.listdir(agent.workspace) == []
    warnings = [line for line in agent.log().splitlines() if "level=warn" in line or "warning" in line]
    assert any("did not finish sending" in line for line in warnings), warnings


def test_the_agent_stops_in_a_list(new_agent):
    with in_memory():
        agent = new_agent(shutdown_grace="100ms")
    (agent.workspace / "crowd").mkdir()
    for number in range(20_000):
        os.mknod(f"{agent.workspace}/crowd/a-rather-long-name-{number}")
    client = send(agent, "GET", "/files/list?path=crowd")
    text = client.recv(100)
    stop(agent)
    with client:
        for piece in iter(lambda: client.recv(1 << 20), b""):
            text += piece
    assert b"Transfer-Encoding: chunked" in text
    assert not text.endswith(b"0\r\n\r\n"), "a list that was cut looks complete"


def test_a_directory_that_vanishes_breaks_its_list(new_agent):
    """The worker has stopped for a client that is slow, and finds nothing when it goes on."""
    with in_memory():
        agent = new_agent()
    space = agent.workspace
    (space / "crowd").mkdir()
    for number in range(20_000):
        os.mknod(f"{space}/crowd/a-rather-long-name-{'x' * 200}-{number}")
    with RawConnection(agent.port, receive_buffer=16 * 1024) as client:
        client.send(head("GET", f"/files/list?path={space}/crowd", tokens.bearer(tokens.token())))
        assert client.read_head().status_code == 200
        (space / "crowd").rename(space / "gone")
        wait_until(lambda: open_files(agent, space) == 0, "the worker to stop")
        with pytest.raises(ConnectionEnded):
            while client.read_chunk():
                pass


def test_repeats_with_a_key_are_done_once(agent, space):
    (space / "file").write_text("a")
    body = {"path": str(space / "file"), "old": "a", "new": "aa"}
    headers = {"Idempotency-Key": "edit-1"}
    answers = [agent.http.post("/files/replace", json=body, headers=headers).json() for _ in range(3)]
    assert all(answer["count"] == 1 for answer in answers)
    assert (space / "file").read_text() == "aa"
    assert post(agent, "replace", **body).status_code == 409
