# SPDX-License-Identifier: Apache-2.0
"""Users who may not, files that nobody may change, and mounts in the way: each operation is done or refused clearly,
and what was there stays whole."""

import io
import os
import pwd
import re
import shutil
import subprocess
import tarfile

import pytest

from lib.expect import expect_error, expect_json
from lib.file_faults import (  # noqa: F401 (a fixture)
    BIG, CHANGES, batch, expect_blame, form, part, path_field, put, sources, transfer,
)  # fmt: skip
from lib.file_watch import Watcher
from lib.files import get, listing, post, read, remove, write
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


# Users who may not


@pytest.fixture(scope="module")
def users_agent(tmp_path_factory):
    may_mount()
    agent = PrivateAgent(tmp_path_factory.mktemp("private"), run_as="nobody")
    give(agent.workspace)
    yield agent
    agent.close()


def give(*paths):
    """To the user that the agent acts as."""
    user = pwd.getpwnam("nobody")
    for path in paths:
        os.lchown(path, user.pw_uid, user.pw_gid)


@pytest.fixture
def users_space(users_agent, tmp_path_factory):
    directory = users_agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    give(directory)
    return directory


@pytest.fixture
def users_sources(users_space):
    """Things that the user may read, and move away."""
    sources = users_space / "sources"
    (sources / "tree" / "below").mkdir(parents=True)
    (sources / "file").write_bytes(BIG)
    (sources / "tree" / "below" / "file").write_bytes(BIG)
    give(sources, *sources.rglob("*"))
    return sources


def expect_denied(agent, top, verb, response, path=None):
    """The answer says so, and blames @path or something below it."""
    assert response.status_code == 403, (verb, response.text)
    document = response.json()
    expect_error(response, 403, "PERMISSION_DENIED", (document.get("details") or {}).get("field"))
    assert document["path"].startswith(str(path or top)), (verb, document)
    entry = document["details"].get("entry")
    culprit = f"{document['path']}/{entry}" if entry else document["path"]
    assert document["message"] == f"Permission denied: {culprit}", (verb, document)


# What needs nothing but the file itself.
BY_DESCRIPTOR = ("append", "chmod", "chown")


@pytest.mark.parametrize("target", ["here", "disk"])
def test_a_directory_of_somebody_else(users_agent, users_space, users_sources, target):
    agent = users_agent
    top = users_space / "theirs"
    if target == "disk":
        agent.mount_disk(top, "size=8m")
    else:
        top.mkdir()
    inside = agent.inside(top)
    (inside / "tree/below").mkdir(parents=True)
    (inside / "tree/below/file").write_text("theirs")
    (inside / "file").write_text("old\n")
    (inside / "other").write_text("other\n")
    for path in (inside, *inside.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = agent.snapshot(users_space)
    for verb, request in CHANGES.items():
        expect_denied(agent, top, verb, request(agent, top, users_sources))
        assert agent.snapshot(users_space) == before, verb
    # What may be written may still not be replaced.
    (inside / "file").chmod(0o666)
    give(inside / "other")
    before = agent.snapshot(users_space)
    for verb, request in CHANGES.items():
        if verb not in BY_DESCRIPTOR:
            expect_denied(agent, top, verb, request(agent, top, users_sources))
            assert agent.snapshot(users_space) == before, verb
    write(agent, top / "file", "new\n", append=True)
    assert (inside / "file").read_text() == "old\nnew\n"


def test_what_may_not_be_read(users_agent, users_space):
    agent = users_agent
    for name in ("file", "tree/file"):
        path = users_space / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("secret")
        path.chmod(0o600)
    (users_space / "closed").mkdir(mode=0o700)
    (users_space / "closed/file").write_text("secret")
    give(users_space / "tree")
    before = agent.snapshot(users_space)
    for verb in ("read", "download"):
        for path in (users_space / "file", users_space / "closed/file"):
            expect_denied(agent, path, verb, get(agent, verb, path))
    expect_denied(agent, users_space / "closed", "list", get(agent, "list", users_space / "closed"))
    expect_denied(agent, users_space / "closed/file", "stat", get(agent, "stat", users_space / "closed/file"))
    assert expect_json(get(agent, "exists", users_space / "closed/file"))["reason"] == "PERMISSION_DENIED"
    for name in ("file", "tree", "closed", "closed/file"):
        path = users_space / name
        expect_denied(agent, path, "copy", transfer(agent, "copy", path, users_space / "new"))
    disk = agent.mount_disk(users_space / "disk", "size=8m")
    for name in ("file", "tree", "closed", "closed/file"):
        path = users_space / name
        expect_denied(agent, path, "move", transfer(agent, "move", path, disk / "new"))
    assert not agent.snapshot(disk)
    agent.unmount(disk)
    disk.rmdir()
    assert agent.snapshot(users_space) == before


def test_a_sticky_directory(users_agent, users_space, users_sources):
    """What others have put there may be written to, perhaps, but not replaced, moved or removed."""
    agent = users_agent
    top = users_space / "shared"
    (top / "tree").mkdir(parents=True)
    (top / "file").write_text("old\n")
    (top / "file").chmod(0o666)
    (top / "tree/file").write_text("old\n")
    (top / "tree").chmod(0o777)
    top.chmod(0o1777)
    disk = agent.mount_disk(users_space / "disk", "size=8m")
    before = agent.snapshot(users_space)
    verbs = {
        "write": lambda: post(agent, "write", path=f"{top}/file", content="new"),
        "put": lambda: put(agent, top / "file", b"new"),
        "form": lambda: form(agent, path_field(top / "file"), part("file", b"new", "x")),
        "form, the path last": lambda: form(agent, part("file", b"new", "x"), path_field(top / "file")),
        "replace": lambda: post(agent, "replace", path=f"{top}/file", old="old", new="new"),
        "batch": lambda: batch(agent, {top / "new": "x", top / "file": "new"}),
        "copy": lambda: transfer(agent, "copy", users_sources / "file", top / "file"),
        "move": lambda: transfer(agent, "move", users_sources / "file", top / "file"),
        "move within": lambda: transfer(agent, "move", top / "file", top / "new"),
        "move away": lambda: transfer(agent, "move", top / "file", disk / "new"),
        "move a tree away": lambda: transfer(agent, "move", top / "tree", disk / "new"),
        "remove": lambda: remove(agent, top / "file"),
    }
    for verb, request in verbs.items():
        expect_denied(agent, top, verb, request())
        assert agent.snapshot(users_space) == before, verb
    write(agent, top / "file", "new\n", append=True)
    write(agent, top / "mine", "x")
    expect_json(transfer(agent, "move", top / "mine", disk / "mine"))


@pytest.fixture
def freeze():
    """chattr"""
    frozen = []

    def change(path, flag):
        if subprocess.run(["chattr", f"+{flag}", path], capture_output=True, check=False).returncode != 0:
            pytest.skip("the file system has no immutable files")
        frozen.append((path, flag))

    if not shutil.which("chattr"):
        pytest.skip("no chattr")
    yield change
    for path, flag in frozen:
        subprocess.run(["chattr", f"-{flag}", path], check=True)


def test_immutable_files(agent, space, sources, freeze):  # noqa: F811
    top = space / "top"
    (top / "tree").mkdir(parents=True)
    for name in ("file", "tree/file", "other"):
        (top / name).write_text("old\n")
    freeze(top / "file", "i")
    freeze(top / "tree/file", "i")
    disk = agent.mount_disk(space / "disk", "size=8m")
    before = agent.snapshot(space)
    for verb, request in CHANGES.items():
        if not re.search("new|tree|batch|mkdir|below", verb):  # the others need the file itself
            expect_denied(agent, top, verb, request(agent, top, sources))
            assert agent.snapshot(space) == before, verb
    more = {
        "batch": batch(agent, {top / "new": "x", top / "file": "new"}),
        "remove a tree": remove(agent, top / "tree"),
        "move away": transfer(agent, "move", top / "file", disk / "new"),
        "move a tree away": transfer(agent, "move", top / "tree", disk / "new"),
    }
    for verb, response in more.items():
        expect_denied(agent, top, verb, response)
        assert agent.snapshot(space) == before, verb
    freeze(top, "i")
    for verb, request in CHANGES.items():
        if verb not in BY_DESCRIPTOR:
            expect_denied(agent, top, verb, request(agent, top, sources))
            assert agent.snapshot(space) == before, verb


def test_a_program_that_runs(agent, space):
    """It may be replaced, but nothing is written into it."""
    program = space / "program"
    shutil.copy(shutil.which("sleep"), program)
    before = program.read_bytes()
    process = subprocess.Popen([program, "1000"])
    try:
        response = post(agent, "write", path=str(program), content="x", append=True)
        expect_blame(response, 409, "FILE_BUSY", program)
        assert program.read_bytes() == before
        write(agent, program, "new")
    finally:
        process.kill()
        process.wait()
    assert program.read_text() == "new"


# Mounts


@pytest.fixture(params=["disk", "bind"])
def mounted(agent, space, request):
    """A tree with something mounted in it."""
    for name in ("tree/a", "tree/m/z", "tree/z/file"):
        (space / name).parent.mkdir(parents=True, exist_ok=True)
        (space / name).write_text("around\n") if name != "tree/m/z" else None
    if request.param == "disk":
        path = agent.mount_disk(space / "tree/m", "size=8m")
    else:
        (space / "original").mkdir()
        path = agent.bind(space / "original", space / "tree/m")
    write(agent, path / "file", "mounted\n")
    write(agent, path / "below/file", "mounted\n")
    return path


def test_what_is_mounted_is_part_of_the_tree(agent, space, mounted):
    paths = [f"{space}/tree/{name}" for name in ("a", "m", "m/below", "m/below/file", "m/file", "z", "z/file")]
    document = listing(agent, space / "tree", recursive=True)
    assert sorted(entry["path"] for entry in document["files"]) == paths
    found = expect_json(get(agent, "search", space / "tree", pattern="mounted"))
    assert len(found["matches"]) == 2
    response = get(agent, "download", space / "tree", format="tar")
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        assert sorted(member.name for member in archive) == [
            "tree", *(os.path.relpath(path, space) for path in paths)]
        assert archive.extractfile("tree/m/below/file").read() == b"mounted\n"
    expect_json(transfer(agent, "copy", space / "tree", space / "copy"))
    assert (space / "copy/m/below/file").read_text() == "mounted\n"
    with Watcher(agent, space / "tree") as watcher:
        write(agent, mounted / "below/new", "x")
        watcher.read_until("created", mounted / "below/new")


def test_moves_into_and_out_of_a_mount(agent, space, mounted):
    expect_json(transfer(agent, "move", mounted / "below", space / "out"))
    expect_json(transfer(agent, "move", space / "tree/z", mounted / "in"))
    expect_json(transfer(agent, "move", mounted / "file", mounted / "in/file"))
    assert (space / "out/file").read_text() == "mounted\n"
    assert sorted(agent.snapshot(mounted)) == ["in", "in/file"]
    assert agent.inside(mounted / "in/file").read_text() == "mounted\n"
    assert not (space / "tree/z").exists()


def test_mount_points_stay(agent, space, mounted):
    """They, and what is around them, are neither removed, nor moved, nor replaced."""
    disk = agent.mount_disk(space / "disk", "size=8m")
    (space / "other").mkdir()
    before = agent.snapshot(space)
    refused = {
        "remove": (lambda: remove(agent, mounted), mounted),
        "remove it alone": (lambda: remove(agent, mounted, recursive="false"), mounted),
        "remove what is around": (lambda: remove(agent, space / "tree"), space / "tree"),
        "move": (lambda: transfer(agent, "move", mounted, space / "new"), mounted),
        "move to another disk": (lambda: transfer(agent, "move", mounted, disk / "new"), mounted),
        "move what is around": (lambda: transfer(agent, "move", space / "tree", disk / "new"), space / "tree"),
        "replace": (lambda: transfer(agent, "move", space / "other", mounted), mounted),
    }
    for verb, (request, path) in refused.items():
        response = request()
        assert response.status_code == 409, (verb, response.text)
        document = expect_error(response, 409, response.json()["code"])
        assert document["code"] == "FILE_BUSY" or verb in ("remove it alone", "replace"), (verb, document)
        assert document["path"] == str(path), (verb, document)
        assert agent.snapshot(space) == before, verb
    # A rename moves what is mounted below with it.
    expect_json(transfer(agent, "move", space / "tree", space / "moved"))
    assert agent.inside(space / "moved/m/below/file").read_text() == "mounted\n"


def test_mounts_in_a_tree_of_a_user(users_agent, users_space, users_sources):
    disk = users_agent.mount_disk(users_sources / "tree/disk", "size=8m")
    write(users_agent, disk / "file", "mounted\n")
    before = users_agent.snapshot(users_space)
    expect_blame(remove(users_agent, users_sources / "tree"), 409, "FILE_BUSY", users_sources / "tree")
    assert users_agent.snapshot(users_space) == before
    users_agent.unmount(disk)
    expect_json(remove(users_agent, users_sources / "tree"))


def test_a_file_that_is_mounted(agent, space):
    for name in ("original", "file", "other"):
        (space / name).write_text(f"{name}\n")
    agent.mount("--bind", space / "original", space / "file")
    disk = agent.mount_disk(space / "disk", "size=8m")
    before = agent.snapshot(space)
    refused = {
        "write": lambda: post(agent, "write", path=f"{space}/file", content="new"),
        "put": lambda: put(agent, space / "file", b"new"),
        "form": lambda: form(agent, path_field(space / "file"), part("file", b"new", "x")),
        "replace": lambda: post(agent, "replace", path=f"{space}/file", old="original", new="new"),
        "batch": lambda: batch(agent, {space / "new": "x", space / "file": "new"}),
        "copy": lambda: transfer(agent, "copy", space / "other", space / "file"),
        "move": lambda: transfer(agent, "move", space / "other", space / "file"),
        "move away": lambda: transfer(agent, "move", space / "file", space / "new"),
        "move to another disk": lambda: transfer(agent, "move", space / "file", disk / "new"),
        "remove": lambda: remove(agent, space / "file"),
    }
    for verb, request in refused.items():
        response = request()
        assert response.status_code == 409, (verb, response.text)
        document = response.json()
        assert (document["code"], document["path"]) == ("FILE_BUSY", f"{space}/file"), (verb, document)
        assert agent.snapshot(space) == before, verb
    assert read(agent, space / "file")["content"] == "original\n"
    write(agent, space / "file", "more\n", append=True)
    assert (space / "original").read_text() == "original\nmore\n"


def test_a_tree_with_a_fifo_is_not_moved_to_another_disk(agent, space):
    """A copy would not have it, so it would be lost."""
    (space / "tree").mkdir()
    (space / "tree/file").write_text("x")
    os.mkfifo(space / "tree/fifo")
    disk = agent.mount_disk(space / "disk", "size=8m")
    before = agent.snapshot(space)
    response = transfer(agent, "move", space / "tree", disk / "new")
    assert expect_error(response, 400, "INVALID_PATH", "/from")["path"] == f"{space}/tree"
    assert agent.snapshot(space) == before
    assert expect_json(transfer(agent, "copy", space / "tree", disk / "new"))["skipped"] == 1
