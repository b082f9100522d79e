# SPDX-License-Identifier: Apache-2.0
"""GET /files/download of directories: archives that are made while they are sent."""

import io
import os
import signal
import subprocess
import tarfile
import urllib.parse
from pathlib import Path

import httpx
import pytest

from lib.downloads import AUTHORIZATION, MIB, is_released
from lib.expect import expect_error
from lib.files import ODD_NAMES
from lib.raw import ConnectionEnded, RawConnection, head
from lib.waiting import is_plain_build, wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def fetch(agent, path, method="GET", **params):
    return agent.http.request(method, "/files/download", params={"path": str(path), **params})


def unpack(response):
    """The archive's members by name, with their content."""
    assert response.status_code == 200, response.text
    with tarfile.open(fileobj=io.BytesIO(response.content), mode="r:*", errorlevel=2) as archive:
        return {
            member.name: (member, archive.extractfile(member).read() if member.isreg() else None)
            for member in archive.getmembers()
        }


def slow(agent, path, **params):
    """A client that has taken the head of the answer, and no more."""
    client = RawConnection(agent.port, receive_buffer=16 * 1024)
    query = urllib.parse.urlencode({"path": str(path), **params})
    client.send(head("GET", f"/files/download?{query}", AUTHORIZATION))
    assert client.read_head().status_code == 200
    return client


def make_tree(top):
    (top / "empty").mkdir(parents=True)
    (top / "deep" / ("d" * 200) / ("e" * 200)).mkdir(parents=True)
    (top / "deep" / ("d" * 200) / ("e" * 200) / "file").write_text("deep")
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o750)
    (top / "nothing").write_bytes(b"")
    (top / "bytes").write_bytes(os.urandom(300_001))
    (top / "link").symlink_to("script")
    (top / "out").symlink_to("/etc")
    (top / "long").symlink_to("x" * 300)
    os.utime(top / "script", (1_500_000_000, 1_500_000_000))
    for name in ODD_NAMES:
        (top / "empty" / name).write_text(name)
    with open(os.fsencode(top) + b"/caf\xe9", "wb") as file:
        file.write(b"latin")


def snapshot(top):
    """What is in a directory, by relative path."""
    found = {}
    for directory, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(top))] = (status.st_mode, int(status.st_mtime), content)
    return found


@pytest.mark.smoke
@pytest.mark.parametrize("params, kind", [({}, "tar"), ({"format": "tar"}, "tar"), ({"format": "tar.gz"}, "tar.gz")])
def test_the_tree_comes_out_as_it_was(agent, space, tmp_path, params, kind):
    make_tree(space / "tree")
    response = fetch(agent, space / "tree", **params)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == {"tar": "application/x-tar", "tar.gz": "application/gzip"}[kind]
    assert response.headers["Content-Disposition"] == f'attachment; filename="tree.{kind}"'
    (tmp_path / "archive").write_bytes(response.content)
    done = subprocess.run(["tar", "xpf", "archive"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(tmp_path / "tree") == snapshot(space / "tree")
    assert {name.split("/")[0] for name in unpack(response)} == {"tree"}
    wait_until(lambda: is_released(agent, space), "the request to end")


def test_names_of_the_top(agent, space):
    (space / "a b+ü").mkdir()
    (space / "link").symlink_to("a b+ü")
    for path, name in ((space / "a b+ü", "a b+ü"), (f"{space}/a b+ü/", "a b+ü"), (space / "link", "link"),
                       (f"{space}/a b+ü/.", "a b+ü")):  # fmt: skip
        response = fetch(agent, path)
        assert list(unpack(response)) == [name]
        assert urllib.parse.quote(name, safe="+") in response.headers["Content-Disposition"]
    # A plus that was not escaped, as the asynchronous Python client sends it.
    (space / "x+y").mkdir()
    for extra in ("", "&format=tar"):
        assert list(unpack(agent.http.get(f"/files/download?path={space}/x+y{extra}"))) == ["x+y"]


def test_a_file_as_an_archive(agent, space):
    (space / "file").write_bytes(b"x" * 5_000_000)
    response = fetch(agent, space / "file", format="tgz")
    assert len(response.content) < 50_000 and unpack(response)["file"][1] == b"x" * 5_000_000
    assert unpack(fetch(agent, space / "file", format="tar"))["file"][1] == b"x" * 5_000_000


def test_special_files_are_left_out(agent, space):
    os.mkfifo(space / "fifo")
    (space / "file").write_text("x")
    assert set(unpack(fetch(agent, space))) == {space.name, f"{space.name}/file"}


def test_refusals(agent, space):
    os.mkfifo(space / "fifo")
    expect_error(fetch(agent, space / "none", format="tar"), 404, "FILE_NOT_FOUND")
    expect_error(fetch(agent, "/etc", format="tar"), 403, "PATH_NOT_ALLOWED")
    expect_error(fetch(agent, "/etc"), 403, "PATH_NOT_ALLOWED")
    expect_error(fetch(agent, space / "fifo", format="tar"), 400, "INVALID_PATH", "/path")
    expect_error(fetch(agent, space, format="zip"), 400, "INVALID_REQUEST", "/format")


def test_head(agent, space):
    make_tree(space / "tree")
    for params in ({}, {"format": "tar.gz"}):
        response = fetch(agent, space / "tree", method="HEAD", **params)
        assert (response.status_code, response.content) == (200, b"")
        assert "tree.tar" in response.headers["Content-Disposition"]
    wait_until(lambda: is_released(agent, space), "the requests to end")


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_many_files_for_a_client_that_stops_and_goes(agent, space, kind):
    """The worker stops many times: between files, and in the middle of them."""
    expected = {}
    for number in range(3000):
        path = space / "tree" / f"{number % 7}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
        expected[f"tree/{number % 7}/{path.name}"] = path.read_bytes()
    for number in range(3):
        (space / "tree" / f"large-{number}").write_bytes(os.urandom(8 * MIB))
        expected[f"tree/large-{number}"] = (space / "tree" / f"large-{number}").read_bytes()
    client = slow(agent, space / "tree", format=kind)
    pieces = iter(client.read_chunk, b"")
    archive = io.BytesIO(b"".join(pieces))
    client.close()
    with tarfile.open(fileobj=archive, mode="r:*", errorlevel=2) as unpacked:
        found = [member for member in unpacked.getmembers() if member.isreg()]
        assert len(found) == len(expected)
        for member in found:
            assert unpacked.extractfile(member).read() == expected[member.name], member.name
    wait_until(lambda: is_released(agent, space), "the request to end")


@pytest.mark.skipif(not is_plain_build(), reason="memory of another kind")
def test_memory_stays_flat(agent, space):
    def resident():
        line = [x for x in Path(f"/proc/{agent.process.pid}/status").read_text().splitlines() if "VmRSS" in x]
        return int(line[0].split()[1]) * 1024

    with open(space / "file", "wb") as file:
        file.truncate(256 * MIB)
    before = resident()
    peak = size = 0
    with agent.http.stream("GET", "/files/download", params={"path": str(space)}) as response:
        for piece in response.iter_raw(MIB):
            size += len(piece)
            peak = max(peak, resident())
    assert size > 256 * MIB and peak - before < 8 * MIB


def make_noise(path, size=64 * MIB):
    """A file that is as large in a compressed archive."""
    piece = os.urandom(MIB)
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(piece[:MIB])
            piece = piece[1:] + piece[:1]


def expect_broken(client):
    """The answer ends, but not as a complete one does."""
    with pytest.raises(ConnectionEnded):
        while client.read_chunk():
            pass
    client.close()


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_file_that_shrinks_breaks_the_archive(agent, space, kind):
    make_noise(space / "file")
    client = slow(agent, space, format=kind)
    os.truncate(space / "file", MIB)
    expect_broken(client)
    wait_until(lambda: is_released(agent, space), "the request to end")


def test_what_a_client_library_sees_of_it(agent, space):
    make_noise(space / "file")
    with agent.http.stream("GET", "/files/download", params={"path": str(space)}) as response:
        pieces = response.iter_raw(MIB)
        next(pieces)
        os.truncate(space / "file", MIB)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            for _ in pieces:
                pass


def test_a_client_without_chunks_sees_it(agent, space):
    make_noise(space / "file")
    with RawConnection(agent.port, receive_buffer=16 * 1024) as client:
        query = urllib.parse.urlencode({"path": str(space)})
        client.send(head("GET", f"/files/download?{query}", AUTHORIZATION, version="HTTP/1.0"))
        assert client.read_head().status_code == 200
        os.truncate(space / "file", MIB)
        with pytest.raises(ConnectionResetError):
            while client.socket.recv(MIB):
                pass


def test_clients_that_leave(agent, space):
    (space / "file").write_bytes(bytes(64 * MIB))
    for params in ({}, {"format": "tar.gz"}):
        for leave in (RawConnection.close, RawConnection.reset):
            leave(slow(agent, space, **params))
            wait_until(lambda: is_released(agent, space), "the request to end", timeout=20)


def test_slow_clients_leave_room_for_others(agent, space):
    (space / "file").write_bytes(bytes(64 * MIB))
    clients = [slow(agent, space) for _ in range(6)]
    (space / "small").mkdir()
    assert list(unpack(fetch(agent, space / "small"))) == ["small"]
    for client in clients:
        client.close()
    wait_until(lambda: is_released(agent, space), "the requests to end", timeout=20)


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_an_agent_that_stops(new_agent, kind):
    agent = new_agent(shutdown_grace="100ms")
    make_noise(agent.workspace / "file")
    clients = [slow(agent, agent.workspace, format=kind) for _ in range(4)]
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(timeout=10) == 0
    for client in clients:
        expect_broken(client)


def test_an_agent_that_stops_completes_what_it_can(new_agent):
    agent = new_agent(shutdown_grace="20s")
    make_noise(agent.workspace / "file", 32 * MIB)
    client = slow(agent, agent.workspace)
    agent.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in agent.log(), "the agent to stop")
    archive = io.BytesIO(b"".join(iter(client.read_chunk, b"")))
    client.close()
    with tarfile.open(fileobj=archive, errorlevel=2) as unpacked:
        assert len(unpacked.extractfile("workspace/file").read()) == 32 * MIB
    assert agent.wait_for_exit(timeout=10) == 0


def test_http_1_0_and_python(agent, space):
    make_tree(space / "tree")
    with httpx.stream(
        "GET", f"{agent.url}/files/download", params={"path": str(space / "tree")}, headers=AUTHORIZATION
    ) as response:
        assert response.status_code == 200 and len(b"".join(response.iter_raw())) > 300_000
    with RawConnection(agent.port) as client:
        query = urllib.parse.urlencode({"path": str(space / "tree")})
        client.send(head("GET", f"/files/download?{query}", AUTHORIZATION, version="HTTP/1.0"))
        response = client.read_response()
        assert "tree/script" in unpack(response)
