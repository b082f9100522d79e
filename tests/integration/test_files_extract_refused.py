# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload with extract=true: what must not be unpacked."""

import concurrent.futures
import gzip
import io
import os
import random
import shutil
import subprocess
import tarfile
import threading

import httpx
import pytest

from lib import procfs, tokens
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
    put,
    post,
)
from lib.expect import expect_error
from lib.raw import RawConnection, head
from lib.waiting import wait_until

MIB = 1024 * 1024
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}
UPLOAD = "/files/upload?extract=true"
SECRET = "the secret of another directory"


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
    (directory / "secret").write_text(SECRET)
    return directory


# What must not work


ESCAPES = {
    "parent": (["../x"], [entry("../x", b"x")]),
    "absolute": (["/abs"], [entry("/abs", b"x")]),
    "deep parent": (["a/../../x"], [entry("a/../../x", b"x")]),
    "harmless parent": (["a/../x"], [entry("a/../x", b"x")]),
    "parent directory": (["..", '".."'], [directory("..")]),
    "parent at the end": (["a/.."], [entry("a/..", b"x")]),
    "link out": (["l", "outside"], [link("l", "../outside"), entry("l/x", b"x")]),
    "absolute link": (["l", "absolute"], [link("l", "/tmp"), entry("l/x", b"x")]),
    "link to itself's parent": (["l", "outside"], [link("l", "..")]),
    "deep link out": (["a/b/l", "outside"], [link("a/b/l", "../../../outside")]),
    "through a link": (["l/x", "link"], [directory("d"), link("l", "d"), entry("l/x", b"x")]),
    "directory through a link": (["l/x", "link"], [directory("d"), link("l", "d"), directory("l/x")]),
    "link through a link": (["l/x", "link"], [directory("d"), link("l", "d"), link("l/x", "y")]),
    "chain": (["b", "outside"], [link("a", "."), link("b", "a/../../outside")]),
    "chain of directories": (["c/up", '".."'], [directory("c"), link("c/l", "."), link("c/up", "l/../..")]),
    "moved link": (["x", "hard link"], [link("a/b/c", "../../x"), hard_link("x", "a/b/c")]),
    "hard link out": (["h", '".."'], [hard_link("h", "../outside/secret")]),
    "absolute hard link": (["h", "absolute"], [hard_link("h", "/etc/passwd")]),
    "hard link to nothing": (["h", "no file"], [hard_link("h", "missing")]),
    "hard link to a directory": (["h", "no file"], [directory("d"), hard_link("h", "d")]),
    "hard link to the target": (["h", "no file"], [hard_link("h", ".")]),
    "hard link through a link": (["h", "link"], [directory("d"), entry("d/f", b"x"), link("l", "d"),
                                                 hard_link("h", "l/f")]),
    "hard link to itself": (["h"], [entry("h", b"x"), hard_link("h", "h")]),
    "character device": (["null", "device"], [entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)]),
    "block device": (["disk", "device"], [entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0)]),
    "fifo": (["pipe", "FIFO"], [entry("pipe", type=tarfile.FIFOTYPE)]),
    "long name": (["255"], [entry("d/" + "n" * 256, b"x")]),
    "long path": (["4095"], [entry("/".join(["n" * 200] * 21), b"x")]),
    "long link": (["4095"], [link("l", "n/" * 2100)]),
    "empty link": (["l"], [link("l", "")]),
    "reserved": (["reserved"], [entry(".vm-agent-tmp-" + "0" * 24, b"x")]),
    "file where a directory is": (["d"], [entry("d/f", b"x"), entry("d", b"x")]),
    "link where a directory is": (["d"], [entry("d/f", b"x"), link("d", "x")]),
    "directory where a file is": (["d"], [entry("d", b"x"), directory("d")]),
    "below a file": (["d/f"], [entry("d", b"x"), entry("d/f", b"x")]),
    "the target as a file": (["."], [entry("./.", b"x")]),
}  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes(agent, space, outside, name):
    """The whole archive is refused, with the name of the entry."""
    words, entries = ESCAPES[name]
    target = space / "target"
    archive = make_tar(entry("before", b"x"), *entries, entry("after", b"x"))
    for way in (put, post):
        expect_refused(way(agent, target, archive), target, words=words)
    assert os.listdir(outside) == ["secret"] and (outside / "secret").read_text() == SECRET
    assert sorted(os.listdir(space)) == ["outside"]


@pytest.mark.parametrize("name", ["parent", "absolute", "deep parent", "link out", "absolute link", "through a link",
                                  "chain"])  # fmt: skip
def test_escapes_of_zips(agent, space, outside, name):
    words, entries = ESCAPES[name]
    archive = make_zip(entry("before", b"x"), *entries, entry("after", b"x"))
    expect_refused(put(agent, space / "target", archive), space / "target", words=words)
    assert os.listdir(space) == ["outside"] and os.listdir(outside) == ["secret"]


def test_odd_headers(agent, space):
    """Whatever they are taken for, nothing leaves the target, and nobody is to blame but the client."""
    end, target = bytes(1024), space / "target"
    rows = [header(b"../x", b"7"), header(b"/x", b"\0"), header(b"x\nname/../../y"), header(b"x", b"Z"), header(b""),
            header(b"x" * 5, b"2", b".."), header(b"h", b"1", b"../outside", 512) + bytes(512), header(b"..", b"5"),
            header(b"x", size=0o77777777777), header(b"x", b"x", size=1 << 20), header(b"x", b"L", size=8) + bytes(512),
            header(b"nul\0/../../x"), b"".join([header(b"e", b"x", size=0)] * 2000), header(b"d", b"D")]  # fmt: skip
    for row in rows:
        response = put(agent, target, row + end)
        assert response.status_code in (200, 400, 413), (row[:20], response.text)
        assert os.listdir(space) in ([], ["target"])
        shutil.rmtree(target, ignore_errors=True)
    expect_no_litter(agent)


def test_a_link_swapped_in(agent, space, outside):
    """Somebody puts links wherever the agent is unpacking."""
    target, is_over = space / "target", threading.Event()
    target.mkdir()

    def swap():
        while not is_over.is_set():
            for path, directories, _ in os.walk(space):
                for name in directories:
                    if name in ("a", "b") or name.startswith(".vm-agent-tmp-"):
                        full = os.path.join(path, name)
                        try:
                            os.rename(full, f"{full}-moved-{random.random()}")
                            os.symlink(outside, full)
                        except OSError:
                            pass

    archive = make_tar(*[entry(f"a/b/{number}", b"x" * 5000) for number in range(200)])
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(12):
            status = put(agent, target, archive).status_code
            assert status in (200, 400, 404), status
    finally:
        is_over.set()
        thread.join()
    assert os.listdir(outside) == ["secret"] and (outside / "secret").read_text() == SECRET


# Limits


@pytest.mark.parametrize("packer", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_bombs(new_agent, packer):
    agent = new_agent(max_extract="5M")
    target = agent.workspace / "target"
    zeros = bytes(6 * MIB)

    def make(*entries):
        return make_zip(*entries) if packer == "zip" else PACKERS[packer](make_tar(*entries))

    for entries in ([entry("bomb", zeros)], [entry(str(number), zeros[:MIB]) for number in range(6)]):
        expect_refused(put(agent, target, make(*entries)), target, 413, "PAYLOAD_TOO_LARGE", ["5242880"])
    expect_done(put(agent, target, make(entry("fine", zeros[: 5 * MIB]))), target)


def test_holes_count(new_agent, tmp_path):
    agent = new_agent(max_extract="5M")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    archive = subprocess.run(["tar", "cSf", "-", "sparse"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert len(archive) < MIB
    expect_refused(put(agent, agent.workspace / "x", archive), agent.workspace / "x", 413, "PAYLOAD_TOO_LARGE")


def test_too_many_entries(agent, space):
    target = space / "target"
    block, count = header(b"e", b"5"), 500_001
    expect_refused(put(agent, target, gzip.compress(block * count + bytes(1024), 1)), target, 413, "PAYLOAD_TOO_LARGE",
                   ["500000"])  # fmt: skip


def test_too_deep(agent, space):
    fine, deep = "/".join("d" * 256), "/".join("d" * 257)
    expect_refused(put(agent, space / "x", make_tar(entry(deep, b"x"))), space / "x", 413, "PAYLOAD_TOO_LARGE")
    expect_done(put(agent, space / "x", make_tar(entry(fine, b"x"))), space / "x")
    # Merging goes all the way down and up again.
    expect_done(put(agent, space / "x", make_tar(entry(fine, b"y"), entry("d/z", b"z"))), space / "x")
    assert (space / "x" / fine).read_text() == "y" and (space / "x" / "d" / "z").read_text() == "z"


def test_packed_twice(agent, space):
    archive = gzip.compress(gzip.compress(make_tar(entry("a", b"x"))))
    expect_refused(put(agent, space / "x", archive), space / "x", words=["more than once"])


@pytest.mark.plain_build
def test_a_long_step_lets_others_in(new_agent):
    """A bomb of one piece: the agent answers meanwhile, and ends when the client leaves."""
    agent = new_agent(max_extract="100G")
    size = 3 << 30
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb", compresslevel=1) as file:
        file.write(header(b"bomb", size=size))
        for _ in range(64):
            file.write(bytes(MIB))
    archive = data.getvalue()
    with RawConnection(agent.port) as client:
        client.send(head("PUT", f"{UPLOAD}&path=x", {**AUTHORIZATION, "Content-Length": len(archive) + 10}) + archive)
        wait_until(lambda: os.path.exists(agent.workspace / "x"), "the target")
        assert agent.http.get("/files/list").status_code == 200
        client.reset()
    agent.wait_until_idle()
    wait_until(lambda: os.listdir(agent.workspace) == [], "nothing to be left")


def test_memory_stays_flat(agent, space):
    piece = random.Random(2).randbytes(MIB)

    def body(count):
        yield header(b"large", size=count * MIB)
        for _ in range(count):
            yield piece
        yield bytes(1024)

    expect_done(put(agent, space / "warm", body(8)), space / "warm")
    before = procfs.status_kib(agent.pid, "VmHWM")
    expect_done(put(agent, space / "x", body(200)), space / "x")
    assert procfs.status_kib(agent.pid, "VmHWM") - before < 8192
    assert (space / "x" / "large").stat().st_size == 200 * MIB
    (space / "x" / "large").unlink()


def test_many_at_once(agent, space):
    archive = gzip.compress(make_tar(*[entry(f"{number}", os.urandom(1000)) for number in range(60)]))

    def upload(number):
        with httpx.Client(base_url=agent.url, headers=AUTHORIZATION, timeout=60) as client:
            return put(type("", (), {"http": client}), space / str(number), archive).status_code

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert set(pool.map(upload, range(24))) == {200}
    assert all(len(os.listdir(space / str(number))) == 60 for number in range(24))


def test_too_many_at_once(agent, space):
    clients = []
    try:
        for number in range(3):
            client = RawConnection(agent.port)
            clients.append(client)
            client.send(head("PUT", f"{UPLOAD}&path={space}/{number}", {**AUTHORIZATION, "Content-Length": 1_000_000}))
        wait_until(lambda: len(os.listdir(space)) == 3, "all of them to begin")
        expect_error(put(agent, space / "x", make_tar()), 429, "RATE_LIMIT_EXCEEDED")
    finally:
        for client in clients:
            client.reset()
            client.close()
    agent.wait_until_idle()
    wait_until(lambda: os.listdir(space) == [], "nothing to be left")
    expect_done(put(agent, space / "x", make_tar()), space / "x")
