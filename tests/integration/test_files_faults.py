# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or read-only: each operation is done or refused clearly, and what was there stays whole."""

import os

import pytest

from lib.expect import expect_error, expect_json
from lib.file_faults import (  # noqa: F401 (a fixture)
    BIG_TEXT, CHANGES, NEEDS_INODE, NEEDS_ROOM, expect_blame, sources, transfer, write_big,
)  # fmt: skip
from lib.files import post, read, remove, write
from lib.mounts import PrivateAgent, may_mount


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    may_mount()
    agent = PrivateAgent(tmp_path_factory.mktemp("private"))
    yield agent
    agent.close()


@pytest.fixture
def space(agent, tmp_path_factory):
    """A directory, its path the same for the tests and the agent."""
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.mark.parametrize("verb", NEEDS_ROOM)
def test_a_full_disk(agent, space, sources, verb):  # noqa: F811
    """Nothing has changed afterwards, and with more room the same request is done."""
    request, blamed = NEEDS_ROOM[verb]
    disk = agent.mount_disk(space / "disk", "size=128k")
    write(agent, disk / "file", "old\n", mode="0640")
    before = agent.snapshot(space)
    field = "/files/2/path" if verb == "batch" else None

    document = expect_blame(request(agent, disk, sources), 507, "NO_SPACE", disk / blamed, field)
    assert document["message"].startswith("No space left on the device: ")
    assert agent.snapshot(space) == before

    agent.remount(disk, "size=8m")
    expect_json(request(agent, disk, sources))
    assert os.path.lexists(agent.inside(disk / blamed))


def test_directories_that_were_made_stay(agent, space):
    """Somebody else may be working in them already."""
    disk = agent.mount_disk(space / "disk", "size=128k")
    expect_blame(write_big(agent, disk / "a/b/file"), 507, "NO_SPACE", disk / "a/b/file")
    assert list(agent.snapshot(disk)) == ["a", "a/b"]


@pytest.mark.parametrize("verb", NEEDS_INODE)
def test_a_disk_without_inodes(agent, space, sources, verb):  # noqa: F811
    request, blamed = NEEDS_INODE[verb]
    disk = agent.mount_disk(space / "disk", "size=8m,nr_inodes=3")  # one is the top's
    write(agent, disk / "file", "old\n", mode="0640")
    write(agent, disk / "other", "other\n")
    before = agent.snapshot(space)
    field = "/files/0/path" if verb == "batch" else None

    expect_blame(request(agent, disk, sources), 507, "NO_SPACE", disk / blamed, field)
    assert agent.snapshot(space) == before
    # What needs none is done.
    write(agent, disk / "file", "more\n", append=True)
    expect_json(transfer(agent, "move", disk / "other", disk / "file2"))
    expect_json(transfer(agent, "move", disk / "file2", disk / "other"))
    expect_json(post(agent, "replace", path=f"{space}/sources/file", old=BIG_TEXT[:300], new="x", all=True))

    agent.remount(disk, "size=8m,nr_inodes=100")
    expect_json(request(agent, disk, sources))
    assert os.path.lexists(agent.inside(disk / blamed))


@pytest.mark.parametrize("kind", ["disk", "bind"])
def test_a_read_only_disk(agent, space, sources, kind):  # noqa: F811
    if kind == "disk":
        disk = agent.mount_disk(space / "disk", "size=8m")
    else:
        (space / "original").mkdir()
        disk = agent.bind(space / "original", space / "disk")
    write(agent, disk / "file", "old\n", mode="0640")
    write(agent, disk / "tree/below/file", "old\n")
    agent.remount(disk, "ro" if kind == "disk" else "bind,ro")
    before = agent.snapshot(space)
    for verb, request in CHANGES.items():
        response = request(agent, disk, sources)
        assert response.status_code == 403, (verb, response.text)
        document = response.json()
        expect_error(response, 403, "PERMISSION_DENIED", (document.get("details") or {}).get("field"))
        assert document["path"].startswith(str(disk)), (verb, document)
        assert document["message"] == f"Read-only file system: {document['path']}", (verb, document)
        assert agent.snapshot(space) == before, verb
    # What changes nothing is done.
    assert read(agent, disk / "file")["content"] == "old\n"
    expect_json(post(agent, "mkdir", path=f"{disk}/tree/below"))
    expect_json(transfer(agent, "copy", disk / "tree", space / "copy"))
    assert (space / "copy/below/file").read_text() == "old\n"
    agent.remount(disk, "rw" if kind == "disk" else "bind,rw")
    expect_json(remove(agent, disk / "tree"))
