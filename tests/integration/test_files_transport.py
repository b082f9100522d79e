# SPDX-License-Identifier: Apache-2.0
"""How files travel: clients such as curl and browsers, several requests on a connection, and slow or wrong ones."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib import tokens
from lib.downloads import AUTHORIZATION, MIB, is_released, make, pattern, target
from lib.expect import expect_error, expect_json
from lib.files import listing, write
from lib.raw import ConnectionEnded, RawConnection, head
from lib.waiting import wait_until

FETCH = Path(__file__).with_name("fetch_ranges.mjs")
SIZE = 3 * MIB + 17


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def old_file(agent):
    """One that was changed long ago."""
    path = agent.workspace / "old.bin"
    return path, make(path, SIZE)


def upload_head(path, **headers):
    return head("PUT", f"/files/upload?path={path}", {**AUTHORIZATION, **headers})


def chunks(*pieces):
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


# Clients


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_fetch_as_pages_do(agent, old_file):
    path, content = old_file
    done = subprocess.run(
        ["node", str(FETCH), agent.url + target(path), tokens.token()], capture_output=True, text=True, timeout=20
    )  # it would wait longer for a connection that it believes to be in use
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    whole = hashlib.sha256(content).hexdigest()
    assert (result["size"], result["whole"], result["parts"]) == (len(content), whole, whole)
    for at, status, digest, size in result["jumps"]:
        assert status == 206 and digest == hashlib.sha256(content[at : at + size]).hexdigest()
    assert (result["known"], result["behind"], result["several"], result["other"]) == (304, 416, 200, 200)
    wait_until(lambda: is_released(agent, agent.workspace), "aborted downloads to be over")


def resume(agent, path, part, *options):
    command = ["curl", "-sS", "-C", "-", "-o", str(part), "-w", "%{http_code}", *options]
    command += ["-H", f"Authorization: {AUTHORIZATION['Authorization']}", agent.url + target(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl_resumes_what_is_still_the_same(agent, space, old_file, tmp_path):
    path, content = old_file
    etag = agent.http.head(target(path)).headers["ETag"]
    part = tmp_path / "part"
    part.write_bytes(content[:100_000])
    assert resume(agent, path, part, "-H", f"If-Range: {etag}") == (0, "206")
    assert part.read_bytes() == content
    # There is nothing left.
    assert resume(agent, path, part) == (0, "416") and part.read_bytes() == content

    # Another file in its place: curl is told, and leaves what it has alone.
    changed = space / "changed"
    changed.write_bytes(pattern(SIZE, b"new"))
    part.write_bytes(content[:100_000])
    returncode, status = resume(agent, changed, part, "-H", f"If-Range: {etag}")
    assert (returncode, status) == (33, "200") and part.read_bytes() == content[:100_000]
    # A shorter one, without a word about which file it was.
    write(agent, changed, "short")
    assert resume(agent, changed, part, "--fail") == (22, "416") and part.read_bytes() == content[:100_000]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("options", [[], ["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_uploads(agent, space, tmp_path, options):
    (tmp_path / "local").write_bytes(pattern(5 * MIB))

    def upload(path, *headers):
        url = f"{agent.url}/files/upload?path={path}"
        command = ["curl", "-sS", "-w", "\n%{http_code}", *options, *headers, "-T", str(tmp_path / "local"), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.rpartition("\n")[2]

    token = ["-H", f"Authorization: {AUTHORIZATION['Authorization']}"]
    assert upload(space / "file", *token) == "200"
    assert (space / "file").read_bytes() == pattern(5 * MIB)
    assert upload("/etc/upload-test", *token) == "403"
    assert upload(space / "other") == "401" and os.listdir(space) == ["file"]


# Several requests on a connection


def test_a_row_of_downloads(agent, space, old_file):
    path, content = old_file
    make(space / "small", 1000, age=0)
    write(agent, space / "empty", "")
    wanted = []
    for _ in range(3):
        wanted += [
            ("GET", path, {}, 200, content),
            ("HEAD", path, {}, 200, b""),
            ("GET", path, {"Range": "bytes=-200000"}, 206, content[-200000:]),
            ("GET", space / "small", {"Range": "bytes=10-19"}, 206, pattern(1000)[10:20]),
            ("GET", space / "empty", {}, 200, b""),
            ("GET", space / "none", {}, 404, None),
            ("GET", path, {"Range": f"bytes={SIZE}-"}, 416, None),
        ]
    with RawConnection(agent.port) as client:
        client.send(b"".join(head(method, target(file), {**AUTHORIZATION, **more}) for method, file, more, *_ in wanted))
        for method, file, more, status, body in wanted:
            response = client.read_head()
            assert response.status_code == status, (method, file, more)
            size = int(response.headers["Content-Length"])
            found = b"" if method == "HEAD" else client.read_bytes(size)
            assert body is None or found == body
    wait_until(lambda: is_released(agent, agent.workspace), "the files to be closed")


def test_a_304_says_no_size(agent, space, old_file):
    """Some clients would wait for that many bytes."""
    write(agent, space / "small", "x")
    for path in (old_file[0], space / "small"):
        for method in ("GET", "HEAD"):
            with RawConnection(agent.port) as client:
                client.send(head(method, target(path), {**AUTHORIZATION, "If-None-Match": "*"}))
                response = client.read_head()
                assert response.status_code == 304 and response.headers["ETag"] and response.headers["Last-Modified"]
                assert "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
                assert response.headers["Connection"] == "close"
                assert client.socket.recv(1) == b"" == client.pending


def test_what_follows_an_upload(agent, space):
    """The connection lives on after a refusal that was read to its end, and ends with the answer after any other."""
    following = head("GET", "/health", {})
    for path, size, survives in (
        (space / "file", 500_000, True),
        (space / "file", 0, True),
        ("/etc/upload-test", 60_000, True),
        ("/etc/upload-test", 300_000, False),
    ):
        with RawConnection(agent.port) as client:
            client.try_send(upload_head(path, **{"Content-Length": size}) + bytes(size) + following)
            response = client.read_response()
            if str(path).startswith("/etc"):
                expect_error(response, 403, "PATH_NOT_ALLOWED")
            else:
                expect_json(response)
            if survives:
                assert expect_json(client.read_response())
            else:
                assert response.headers["Connection"] == "close"
                with pytest.raises(ConnectionEnded):
                    client.read_response()
    assert (space / "file").read_bytes() == b""


def test_who_does_not_wait_for_100_continue(agent):
    size = 5 * MIB
    with RawConnection(agent.port) as client:
        client.send(upload_head("/etc/upload-test", **{"Content-Length": size, "Expect": "100-continue"}))
        client.try_send(bytes(size))
        expect_error(client.read_response(), 403, "PATH_NOT_ALLOWED")


# Wrong and slow ones


@pytest.mark.parametrize(
    "end", [b"", b"0\r\n", b"5\r\nab", b"zz\r\nab\r\n"], ids=["nothing", "half an end", "half a chunk", "no chunk"]
)
def test_chunks_that_break_off(agent, space, end):
    """What was not announced as complete does not replace anything."""
    write(agent, space / "file", "old")
    with RawConnection(agent.port) as client:
        client.send(upload_head(space / "file", **{"Transfer-Encoding": "chunked"}) + chunks(bytes(200_000)) + end)
        client.half_close()
        with pytest.raises(ConnectionEnded):
            while True:
                client.read_response()
    agent.wait_until_idle()
    assert (space / "file").read_text() == "old"
    assert listing(agent, space)["count"] == 1 and os.listdir(space) == ["file"]


def test_a_size_that_nobody_has(new_agent):
    """The last of them is what the HTTP library takes for "unknown"."""
    agent = new_agent(max_upload="0")
    for size, status in ((2**64, 413), (2**64 - 1, None)):
        with RawConnection(agent.port) as client:
            client.send(upload_head(agent.workspace / "file", **{"Content-Length": size}) + b"partial")
            client.half_close()
            if status:
                assert client.read_response().status_code == status
            with pytest.raises(ConnectionEnded):
                client.read_response()
    agent.wait_until_idle()
    assert os.listdir(agent.workspace) == []


def test_the_log_has_the_answer_that_was_given(agent):
    """The client goes on behind it, with what is no HTTP."""
    with RawConnection(agent.port) as client:
        client.send(upload_head("/etc/upload-test", **{"Transfer-Encoding": "chunked"}))
        request_id = expect_error(client.read_response(), 403, "PATH_NOT_ALLOWED")["request_id"]
        client.try_send(b"zz\r\nab\r\n")
        with pytest.raises(ConnectionEnded):
            client.read_response()
    line = wait_until(lambda: re.search(f"id={request_id} .*", agent.log()), "the access line")
    assert " status=403 " in line.group()


def test_clients_that_do_nothing(new_agent):
    agent = new_agent(body_timeout="300ms", idle_timeout="1s")
    make(agent.workspace / "file", 32 * MIB, age=0)
    with (
        RawConnection(agent.port) as silent,
        RawConnection(agent.port, receive_buffer=16 * 1024) as deaf,
        RawConnection(agent.port, receive_buffer=16 * 1024) as slow,
    ):
        silent.send(upload_head(agent.workspace / "up", **{"Content-Length": 1000}) + b"x")
        deaf.send(head("GET", target(agent.workspace / "file"), AUTHORIZATION))
        slow.send(head("GET", target(agent.workspace / "file"), AUTHORIZATION))
        expect_error(silent.read_response(), 408, "REQUEST_TIMEOUT")
        with pytest.raises(ConnectionEnded):
            silent.read_response()
        # Who takes a little now and then is served for longer than who takes nothing.

        def is_deaf_one_cut():
            assert slow.socket.recv(32 * 1024)
            return agent.gauges()["requests_live"] == 2

        wait_until(is_deaf_one_cut, "the deaf client to be cut", timeout=20, interval=0.05)
        slow.read_bytes(4 * MIB)
    agent.wait_until_idle()
    assert os.listdir(agent.workspace) == ["file"]


def test_nonsense_behind_much_data(agent, space):
    """It is found while the client has to wait for the disk."""
    for size in (64, 300, 700, 1500):
        body = chunks(*[bytes(1000)] * size) + b"zz\r\nab\r\n"
        with RawConnection(agent.port) as client:
            client.try_send(upload_head(space / "file", **{"Transfer-Encoding": "chunked"}) + body)
            with pytest.raises(ConnectionEnded):
                while True:
                    assert client.read_response().status_code == 400
    agent.wait_until_idle()
    assert os.listdir(space) == []
