# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload with extract=true: archives that are unpacked, and where there is something already."""

import gzip
import os
import random
import shutil
import stat
import subprocess
import tarfile
import unicodedata
import zipfile

import pytest

from lib.archives import (
    PACKERS,
    THEN,
    directory,
    entry,
    expect_done,
    expect_no_litter,
    hard_link,
    link,
    make_tar,
    make_zip,
    post,
    put,
    snapshot,
)
from lib.expect import expect_error
from lib.files import ODD_NAMES

MIB = 1024 * 1024


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.fixture
def outside(space):
    """Allowed, too, but not the target of the archives."""
    directory = space / "outside"
    directory.mkdir()
    (directory / "secret").write_text("secret")
    return directory


TREE = (
    directory("."),
    directory("sub", 0o750),
    entry("sub/file", b"content", mode=0o640),
    entry("sub/program", b"#!/bin/sh\n", mode=0o755),
    entry("made/on/the/way", b"x"),
    entry("empty", b""),
    link("sub/link", "file"),
    link("sub/up", "../empty"),
    link("dangling", "nothing/here"),
)


def expect_tree(target):
    assert (target / "sub" / "file").read_bytes() == b"content"
    assert stat.S_IMODE((target / "sub").stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "sub" / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((target / "sub" / "program").stat().st_mode) == 0o755
    assert abs((target / "sub" / "file").stat().st_mtime - THEN) < 86400
    assert abs((target / "sub").stat().st_mtime - THEN) < 86400
    assert (target / "made" / "on" / "the" / "way").read_bytes() == b"x"
    assert os.readlink(target / "sub" / "link") == "file" and os.readlink(target / "sub" / "up") == "../empty"
    assert os.readlink(target / "dangling") == "nothing/here"
    assert sorted(os.listdir(target)) == ["dangling", "empty", "made", "sub"]


# What has to work


@pytest.mark.smoke
@pytest.mark.parametrize("way", ["put", "post"])
@pytest.mark.parametrize("packer", PACKERS)
def test_tar(agent, space, packer, way):
    archive = PACKERS[packer](make_tar(*TREE))
    document = expect_done((put if way == "put" else post)(agent, space / "new", archive), space / "new")
    expect_tree(space / "new")
    # The directories on the way are not entries.
    assert (document["regular_files"], document["directories"], document["links"]) == (4, 1, 3)
    assert document["size"] == 7 + 10 + 1 and document["files"][0]["created"] is True
    assert document["files"][0]["name"] == ("new" if way == "put" else "archive.bin")
    assert os.listdir(space) == ["new"]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_formats(agent, space, tar_format):
    expect_done(put(agent, space, make_tar(*TREE, tar_format=tar_format)), space)
    expect_tree(space)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("way", ["put", "post"])
def test_zip(agent, space, way, compression):
    archive = make_zip(*TREE[1:], compression=compression)
    expect_done((put if way == "put" else post)(agent, space, archive), space)
    expect_tree(space)


@pytest.mark.parametrize("command", [
    ["tar", "cf", "-", "."], ["tar", "czf", "-", "."], ["tar", "cJf", "-", "."], ["tar", "cjf", "-", "."],
    ["tar", "--format=pax", "-cf", "-", "."], ["tar", "--format=v7", "-cf", "-", "."], ["tar", "cSf", "-", "."],
    ["bsdtar", "cf", "-", "."], ["zip", "-qry", "../out.zip", "."],
], ids=" ".join)  # fmt: skip
def test_the_usual_commands(agent, space, tmp_path, command):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "file").write_bytes(random.Random(1).randbytes(300_000))
    (source / "a" / "script").write_text("echo")
    (source / "a" / "script").chmod(0o755)
    (source / "a" / "link").symlink_to("b/file")
    with open(source / "sparse", "wb") as file:
        file.truncate(5 * MIB)
        file.write(b"start")
    (source / "two words").write_text("x")
    for path in source.rglob("*"):
        os.utime(path, (THEN, THEN), follow_symlinks=False)
    archive = subprocess.run(command, cwd=source, capture_output=True, check=True).stdout
    if command[0] == "zip":
        archive = (tmp_path / "out.zip").read_bytes()
    expect_done(put(agent, space, archive), space)
    assert snapshot(space) == snapshot(source)


def test_names(agent, space):
    names = [os.fsdecode(name) for name in (*ODD_NAMES, b"not utf-8 \xff\xfe", b"\xe9")]
    for number, make in enumerate((
        lambda e: make_tar(*e), lambda e: make_tar(*e, tar_format=tarfile.GNU_FORMAT),
    )):  # fmt: skip
        target = space / str(number)
        expect_done(put(agent, target, make([entry(name, b"x") for name in names])), target)
        assert sorted(os.listdir(target)) == sorted(names)
    # Those of zip archives become composed ones; a backslash is a slash there.
    fine = [name for name in ODD_NAMES if "\\" not in name]
    expect_done(put(agent, space / "zip", make_zip(*[entry(name, b"x") for name in fine])), space / "zip")
    assert sorted(os.listdir(space / "zip")) == sorted(unicodedata.normalize("NFC", name) for name in fine)


def test_the_workspace_is_the_default(new_agent):
    agent = new_agent()
    expect_done(put(agent, None, make_tar(entry("one", b"1"))), agent.workspace)
    expect_done(post(agent, None, make_tar(entry("two", b"2"))), agent.workspace)
    expect_done(post(agent, "relative/sub/", make_tar(entry("three", b"3"))), "relative/sub/")
    assert sorted(os.listdir(agent.workspace)) == ["one", "relative", "two"]
    assert (agent.workspace / "relative" / "sub" / "three").read_text() == "3"


def test_fields_of_the_form(agent, space):
    """The path may come after the file; extract may not."""
    files, archive = space / "files", make_tar(entry("sub/file", b"x"))

    def send(order, target):
        parts = {"file": ("file", ("a.tar", archive)), "path": ("path", (None, str(target))),
                 "extract": ("extract", (None, "true"))}  # fmt: skip
        return agent.http.post("/files/upload", files=[parts[name] for name in order])

    for number, order in enumerate((("extract", "file", "path"), ("path", "extract", "file"))):
        expect_done(send(order, files / str(number)), files / str(number))
        assert (files / str(number) / "sub" / "file").read_bytes() == b"x"
    expect_error(send(("path", "file", "extract"), files / "late"), 400, "INVALID_REQUEST", "/extract")
    params, two = {"extract": "true", "path": str(files)}, [("file", ("a", archive)), ("file", ("b", archive))]
    expect_error(agent.http.post("/files/upload", params=params, files=two), 400, "INVALID_REQUEST", "/file")
    expect_error(agent.http.post("/files/upload", params={**params, "mode": "0600"}, files=two[:1]), 400,
                 "INVALID_REQUEST", "/mode")  # fmt: skip
    assert sorted(os.listdir(files)) == ["0", "1"]
    expect_no_litter(agent)


def test_in_small_pieces(agent, space):
    """However the bytes come."""
    for number, archive in enumerate((gzip.compress(make_tar(*TREE)), make_zip(*TREE[1:]))):
        target = space / str(number)
        response = put(agent, target, (archive[at : at + 7] for at in range(0, len(archive), 7)))
        expect_done(response, target)
        expect_tree(target)


def test_hard_links(agent, space):
    archive = make_tar(entry("a", b"x"), hard_link("sub/b", "a"), hard_link("c", "./sub/b"))
    document = expect_done(put(agent, space, archive), space)
    assert document["links"] == 2
    assert len({(space / name).stat().st_ino for name in ("a", "sub/b", "c")}) == 1


def test_modes(agent, space):
    rows = {"suid": 0o4755, "sgid": 0o2711, "sticky": 0o1666, "none": 0o000, "all": 0o777}
    entries = [entry(name, b"x", mode=mode, uid=12345, gid=54321) for name, mode in rows.items()]
    expect_done(put(agent, space, make_tar(*entries, directory("d", 0o7500), entry("d/file", b"x"))), space)
    for name, mode in rows.items():
        status = (space / name).stat()
        assert stat.S_IMODE(status.st_mode) == mode & 0o777
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE((space / "d").stat().st_mode) == 0o700


def test_entries_that_come_twice(agent, space):
    """The last one counts, and is a file of its own."""
    archive = make_tar(entry("a", b"first"), hard_link("b", "a"), entry("a", b"second"), link("c", "a"),
                       entry("c", b"third"), directory("d"), directory("d"), entry("./d//f", b"x"))  # fmt: skip
    expect_done(put(agent, space, archive), space)
    content = {name: (space / name).read_bytes() for name in ("a", "b", "c", "d/f")}
    assert content == {"a": b"second", "b": b"first", "c": b"third", "d/f": b"x"}
    assert not (space / "c").is_symlink()


def test_empty_archives(agent, space):
    for number, archive in enumerate((make_tar(), gzip.compress(make_tar()), make_zip())):
        document = expect_done(put(agent, space / str(number), archive), space / str(number))
        assert document["entries"] == 0 and os.listdir(space / str(number)) == []


def test_a_round_trip(agent, space):
    source = space / "source"
    for path, content in (("a/b/c", b"c" * 100_000), ("a/empty", b""), ("top", b"x")):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)
    for name in ODD_NAMES:
        (source / "a" / name).write_text(name)
    os.link(source / "top", source / "a" / "hard")
    (source / "a" / "link").symlink_to("../top")
    (source / "a" / "b").chmod(0o700)
    for path in source.rglob("*"):
        os.utime(path, (THEN, THEN), follow_symlinks=False)
    params = {"path": str(source), "archive": "tar.gz", "format": "tar.gz"}
    with agent.http.stream("GET", "/files/download", params=params) as response:
        assert response.status_code == 200, response.read()
        archive = b"".join(response.iter_raw())
    expect_done(put(agent, space / "again", archive), space / "again")
    assert snapshot(space / "again" / "source") == snapshot(source)


# Where there is something already


def test_merging(agent, space):
    (space / "sub").mkdir(mode=0o700)
    (space / "sub" / "kept").write_text("kept")
    (space / "sub" / "file").write_text("old")
    (space / "empty").symlink_to("sub/kept")
    document = expect_done(put(agent, space, make_tar(*TREE)), space)
    assert document["files"][0]["created"] is False
    assert (space / "sub" / "kept").read_text() == "kept" and (space / "sub" / "file").read_text() == "content"
    # The link was replaced, not written through; the directory is still the same.
    assert not (space / "empty").is_symlink() and (space / "empty").read_text() == ""
    assert stat.S_IMODE((space / "sub").stat().st_mode) == 0o700


def test_without_overwrite(agent, space):
    (space / "sub").mkdir()
    expect_done(put(agent, space, make_tar(entry("sub/a", b"1"), entry("b", b"1")), overwrite="false"), space)
    (space / "b").unlink()
    before = snapshot(space)
    for way in (put, post):
        document = expect_error(way(agent, space, make_tar(entry("b", b"2"), entry("sub/a", b"2")),
                                    overwrite="false"), 409, "FILE_ALREADY_EXISTS")  # fmt: skip
        assert f"{space}/sub/a" in document["message"]
        assert snapshot(space) == before
    expect_done(put(agent, space, make_tar(entry("b", b"2"), entry("sub/a", b"2"))), space)
    assert (space / "sub" / "a").read_text() == "2"


@pytest.mark.parametrize("make, there", [
    (lambda: entry("x", b"x"), "directory"),
    (lambda: link("x", "y"), "directory"),
    (lambda: directory("x"), "file"),
    (lambda: directory("x"), "link"),
    (lambda: entry("x/y", b"x"), "link"),
    (lambda: entry("x", b"x"), "fifo"),
])  # fmt: skip
def test_what_is_in_the_way(agent, space, outside, make, there):
    target = space / "target"
    target.mkdir()
    x = target / "x"
    {"directory": x.mkdir, "file": x.touch, "fifo": lambda: os.mkfifo(x),
     "link": lambda: x.symlink_to(outside)}[there]()  # fmt: skip
    response = put(agent, target, make_tar(entry("a", b"x"), make(), entry("z", b"x")))
    document = expect_error(response, 400, "INVALID_PATH", "/path")
    assert f"{target}/x" in document["message"]
    assert os.listdir(target) == ["x"] and os.listdir(outside) == ["secret"]


def test_targets(agent, space, outside):
    archive = make_tar(entry("a", b"x"))
    (space / "file").touch()
    expect_error(put(agent, space / "file", archive), 409, "FILE_ALREADY_EXISTS")
    expect_error(put(agent, "/etc/x", archive), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "/etc", archive), 403, "PATH_NOT_ALLOWED")
    (space / "out").symlink_to("/etc")
    expect_error(put(agent, space / "out", archive), 403, "PATH_NOT_ALLOWED")
    # The client's own path may be a link to where it may write.
    (space / "link").symlink_to(outside)
    expect_done(put(agent, space / "link", archive), space / "link")
    assert sorted(os.listdir(outside)) == ["a", "secret"]
