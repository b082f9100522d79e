# SPDX-License-Identifier: Apache-2.0
"""What clients may ask of files: just so much is answered, and what is beyond is refused with an explanation."""

import contextlib
import os
from pathlib import Path

import pytest

from lib.downloads import AUTHORIZATION, MIB
from lib.expect import expect_error, expect_json
from lib.files import get, listing, names
from lib.raw import RawConnection, head
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    "verb, field, value, largest",
    [
        ("list", "limit", 1_000_001, 1_000_000),
        ("list", "depth", 65_537, 65_536),
        ("list", "glob", "*" * 1025, "*" * 1024),
        ("list", "glob", "{" * 17 + "}" * 17, "{" * 16 + "}" * 16),
        ("list", "cursor", "aa" * 4096, "aa" * 4095),
        ("list", "path", "/" * 4096, None),
        ("search", "pattern", "x" * 4097, "x" * 4096),
        ("search", "glob", "*" * 1025, "*" * 1024),
        ("search", "exclude", "*" * 1025, "?" * 1024),
        ("search", "context", 101, 100),
        ("search", "before", 101, 100),
        ("search", "after", 101, 100),
        ("search", "limit", 10_001, 10_000),
    ],
)
def test_fields(agent, space, verb, field, value, largest):
    (space / "file").touch()
    params = {"path": str(space), **({"pattern": "x"} if verb == "search" else {})}
    response = agent.http.get(f"/files/{verb}", params={**params, field: value})
    assert response.status_code == 400 and response.json()["code"] in ("INVALID_REQUEST", "INVALID_PATH"), response.text
    assert response.json()["details"]["field"] == f"/{field}"
    if largest is not None:
        expect_json(agent.http.get(f"/files/{verb}", params={**params, field: largest}))


def test_links_on_a_path(agent, space):
    (space / "dot").symlink_to(".")
    (space / "file").touch()
    assert expect_json(get(agent, "stat", f"{space}/{'dot/' * 40}file"))["type"] == "file"
    expect_error(get(agent, "stat", f"{space}/{'dot/' * 41}file"), 400, "INVALID_PATH", "/path")


def test_a_large_file_is_not_searched(agent, space):
    for name, size in (("searched", 64 * MIB), ("large", 64 * MIB + 1)):
        with open(space / name, "wb") as file:
            file.write(b"needle\n")
            file.truncate(size)
    document = expect_json(get(agent, "search", space, pattern="needle"))
    assert (document["files_too_large"], document["files_binary"], document["count"]) == (1, 1, 0)


def test_so_much_is_read_at_a_time(agent, space):
    """Four answers of 32 MiB are being sent; there is no room for another byte, until one of them has left."""
    (space / "file").write_bytes(b"x" * 32 * MIB)
    (space / "small").write_bytes(b"x")
    with contextlib.ExitStack() as clients:
        for _ in range(4):
            client = clients.enter_context(RawConnection(agent.port, receive_buffer=16 * 1024))
            client.send(head("GET", f"/files/read?path={space}/file", AUTHORIZATION))
            assert client.read_head().status_code == 200
        response = get(agent, "read", space / "small")
        expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
        assert "/files/download" in response.json()["message"]
        client.close()
        wait_until(lambda: get(agent, "read", space / "small").status_code == 200, "one of them to end")


def test_files_before_their_path(agent, space):
    def upload(n):
        parts = [("file", (f"f{number}", b"x")) for number in range(n)]
        return agent.http.post("/files/upload", files=[*parts, ("path", (None, f"{space}/up{n}/"))])

    assert len(expect_json(upload(32))["files"]) == 32
    expect_error(upload(33), 400, "INVALID_REQUEST", "/path")
    assert os.listdir(space) == ["up32"] and len(os.listdir(space / "up32")) == 32


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel shows its symbols to root")
def test_a_file_that_does_not_know_its_size(new_agent):
    symbols = Path("/proc/kallsyms")
    if not symbols.exists() or len(symbols.read_bytes()) <= 4 * MIB:
        pytest.skip("it is small here")
    agent = new_agent(allowed_path="/")
    expect_error(get(agent, "download", symbols), 413, "PAYLOAD_TOO_LARGE")


def test_names_of_a_large_directory_come_in_batches(agent, space):
    """More than one batch, and paths that fill a batch before its entries do."""
    directory = space
    for _ in range(14):
        directory = directory / ("d" * 200)
    directory.mkdir(parents=True)
    for number in range(600):
        (directory / f"{'f' * 200}-{number:03}").touch()
    found = names(listing(agent, space, recursive=True))
    assert found == 14 * ["d" * 200] + [f"{'f' * 200}-{number:03}" for number in range(600)]
