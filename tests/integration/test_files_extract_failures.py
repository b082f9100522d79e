# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload with extract=true: archives, clients, agents and disks that fail."""

import bz2
import gzip
import lzma
import os
import pwd
import random
import shutil
import signal
import stat
import subprocess
import zipfile

import pytest

from lib import tokens
from lib.archives import (
    PACKERS,
    directory,
    entry,
    expect_done,
    expect_no_litter,
    expect_refused,
    hard_link,
    header,
    link,
    make_tar,
    make_zip,
    post,
    put,
    snapshot,
)
from lib.expect import expect_error
from lib.raw import RawConnection, head
from lib.restart import kill_agent, start_agent
from lib.waiting import wait_until

MIB = 1024 * 1024
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}
UPLOAD = "/files/upload?extract=true"

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


# What is broken


def test_no_archives(agent, space):
    target = space / "target"
    for content in (b"", b"x", b"hello " * 10_000, bytes(100), b"PK", b"PK\x03\x04" + bytes(100), b"\x1f\x8b",
                    gzip.compress(b""), gzip.compress(b"garbage " * 1000), lzma.compress(b"x"), bz2.compress(b"y" * 9999),
                    b"\x1f\x8b\x08\x00" + os.urandom(5000), b"BZh9" + os.urandom(5000), os.urandom(100_000),
                    b"!<arch>\n" + bytes(1000), b"7z\xbc\xaf\x27\x1c" + bytes(500), b"Rar!\x1a\x07\x00" + bytes(500)):  # fmt: skip
        for way in (put, post):
            expect_refused(way(agent, target, content), target)
    assert os.listdir(space) == []


@pytest.mark.parametrize("packer", [*PACKERS, "zip"])
def test_truncated(agent, space, packer):
    entries = [entry(f"d/{number}", random.Random(number).randbytes(20_000)) for number in range(5)]
    whole = make_zip(*entries) if packer == "zip" else PACKERS[packer](make_tar(*entries))
    used = len(make_tar(*entries).rstrip(b"\0")) if packer == "tar" else len(whole)
    for size in sorted(random.Random(3).sample(range(1, used - 600), 12)) + [len(whole) // 2]:
        response = put(agent, space / "x", whole[:size])
        if packer == "tar" and response.status_code == 200:
            # Between two entries a tar archive may end: who wrote it left out the end.
            assert size % 512 == 0
            shutil.rmtree(space / "x")
        else:
            expect_refused(response, space / "x")
    assert os.listdir(space) == []


@pytest.mark.parametrize("packer", [*PACKERS, "zip"])
def test_damaged(agent, space, packer):
    """It is refused, or what could be read is there; where there are checksums nothing else than what was packed is."""
    source = random.Random(4)
    entries = [entry(f"d/{number}", source.randbytes(3000)) for number in range(5)]
    whole = make_zip(*entries) if packer == "zip" else PACKERS[packer](make_tar(*entries))
    for turn in range(40):
        target = space / str(turn)
        at = source.randrange(len(whole))
        broken = whole[:at] + bytes([whole[at] ^ (1 << source.randrange(8))]) + whole[at + 1 :]
        response = put(agent, target, broken)
        assert response.status_code in (200, 400, 413), response.text
        if response.status_code != 200:
            assert os.listdir(space) == []
        elif packer in ("tar.bz2", "tar.xz", "tar.zst", "zip"):
            for info, content in entries:
                file = target / info.name
                assert not file.exists() or file.read_bytes() == content or not file.stat().st_size
        shutil.rmtree(target, ignore_errors=True)


@pytest.mark.parametrize("way", ["put", "post"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_the_client_leaves(agent, space, kind, way):
    entries = [entry(f"d/{number}", bytes(1000)) for number in range(500)]
    archive = make_tar(*entries) if kind == "tar" else make_zip(*entries, compression=zipfile.ZIP_STORED)
    boundary = "b"
    start = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    headers = {**AUTHORIZATION, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    for part in (2, 3):
        with RawConnection(agent.port) as client:
            line = head("PUT" if way == "put" else "POST", f"{UPLOAD}&path={space}/x",
                        {**headers, "Content-Length": len(archive) + 1000})  # fmt: skip
            client.send(line + (start if way == "post" else b"") + archive[: len(archive) * part // 4])
            wait_until(lambda: os.path.exists(space / "x"), "the target")
            client.reset()
        agent.wait_until_idle()
        wait_until(lambda: os.listdir(space) == [], "nothing to be left")
    expect_no_litter(agent)


def test_the_client_leaves_at_the_end(agent, space):
    """All or nothing."""
    entries = [entry(f"d/{number}", bytes(1000)) for number in range(50)]
    archive = make_tar(*entries)
    for _ in range(30):
        with RawConnection(agent.port) as client:
            line = head("PUT", f"{UPLOAD}&path={space}/x", {**AUTHORIZATION, "Content-Length": len(archive)})
            client.send(line + archive)
            client.reset()
        agent.wait_until_idle()
        assert os.listdir(space) == [] or os.listdir(space / "x") == ["d"] and len(os.listdir(space / "x" / "d")) == 50
        shutil.rmtree(space / "x", ignore_errors=True)


@pytest.mark.parametrize("kind", ["waiting", "busy"])
def test_the_agent_stops(new_agent, kind):
    agent = new_agent(shutdown_grace="100ms", max_extract="0")
    start = header(b"large", size=1 << 30)
    archive = start + bytes(MIB // 2)
    if kind == "busy":
        archive = gzip.compress(start) + gzip.compress(bytes(16 * MIB), 1) * 30
    with RawConnection(agent.port) as client:
        client.send(head("PUT", UPLOAD, {**AUTHORIZATION, "Content-Length": 2 * MIB}) + archive)
        wait_until(lambda: os.listdir(agent.workspace), "a temporary directory")
        agent.signal(signal.SIGTERM)
        assert agent.wait_for_exit(timeout=10) == 0
    assert os.listdir(agent.workspace) == []


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_the_agent_is_killed(new_agent, kind):
    """What it leaves its successor removes."""
    agent = new_agent()
    entries = [entry(f"d/{number}", bytes(1000)) for number in range(500)]
    archive = make_tar(*entries) if kind == "tar" else make_zip(*entries, compression=zipfile.ZIP_STORED)
    with RawConnection(agent.port) as client:
        client.send(head("PUT", UPLOAD, {**AUTHORIZATION, "Content-Length": 2 * MIB}) + archive[: MIB // 4])
        wait_until(lambda: os.listdir(agent.workspace), "a temporary directory")
        kill_agent(agent)
    assert os.listdir(agent.workspace)
    start_agent(agent)
    wait_until(lambda: os.listdir(agent.workspace) == [], "nothing to be left")


@pytest.fixture
def small_disk(space):
    disk = space / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", disk]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk(agent, small_disk):
    for make in (make_tar, lambda *e: make_zip(*e, compression=zipfile.ZIP_STORED)):
        archive = make(entry("before", b"x"), entry("large", bytes(8 * MIB)))
        expect_refused(put(agent, small_disk, archive), small_disk, 507, "NO_SPACE")
    assert os.listdir(small_disk) == []


def test_another_file_system_in_the_target(agent, space, small_disk):
    """What cannot be renamed there is copied."""
    (small_disk / "old").write_text("old")
    archive = make_tar(entry("disk/old", b"new"), entry("disk/sub/file", b"x", mode=0o751), link("disk/l", "old"),
                       entry("beside", b"x"))  # fmt: skip
    expect_error(put(agent, space, archive, overwrite="false"), 409, "FILE_ALREADY_EXISTS")
    expect_done(put(agent, space, archive), space)
    assert (small_disk / "old").read_text() == "new" and os.readlink(small_disk / "l") == "old"
    assert stat.S_IMODE((small_disk / "sub" / "file").stat().st_mode) == 0o751
    assert sorted(os.listdir(small_disk)) == ["l", "old", "sub"] and sorted(os.listdir(space)) == ["beside", "disk"]


@needs_root
def test_files_belong_to_the_user(new_agent):
    agent = new_agent(run_as="nobody")
    user = pwd.getpwnam("nobody")
    os.chown(agent.workspace, user.pw_uid, user.pw_gid)
    archive = make_tar(entry("sub/file", b"x"), link("l", "sub"), hard_link("hard", "sub/file"), directory("closed", 0o500), entry("closed/f", b"x"))
    for target in (agent.workspace / "one", agent.workspace):
        expect_done(put(agent, target, archive), target)
        for path in target.rglob("*"):
            assert (path.lstat().st_uid, path.lstat().st_gid) == (user.pw_uid, user.pw_gid), path
    closed = agent.workspace / "roots"
    closed.mkdir(mode=0o755)
    (closed / "file").write_text("old")
    expect_error(put(agent, closed, archive), 403, "PERMISSION_DENIED")
    before = snapshot(agent.workspace)
    # Nothing is moved when the user may not move everything.
    archive = make_tar(entry("a", b"x"), entry("roots/file", b"x"), entry("z", b"x"))
    expect_error(put(agent, agent.workspace, archive), 403, "PERMISSION_DENIED")
    assert snapshot(agent.workspace) == before
