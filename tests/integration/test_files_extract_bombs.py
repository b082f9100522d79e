# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload with extract=true: archives that want memory, and headers that lie."""

import gzip
import io
import lzma
import os
import stat
import subprocess
import zipfile
import zlib

import pytest

from lib import procfs
from lib.archives import PACKERS, THEN, entry, expect_done, expect_refused, header, make_tar, make_zip, put

MIB = 1024 * 1024


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def put_and_measure(agent, path, archive):
    """The response, and how many MiB the agent needed for it."""
    with open(f"/proc/{agent.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets VmHWM
    before = procfs.status_kib(agent.pid, "VmHWM")
    response = put(agent, path, archive)
    return response, (procfs.status_kib(agent.pid, "VmHWM") - before) / 1024


def large_tar(mib):
    return header(b"large", size=mib * MIB) + bytes(mib * MIB + 1024)


def xz(content, dictionary):
    """Says that it needs a dictionary of that many MiB, a power of two, whatever it was packed with."""
    archive = bytearray(lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
    start, end = 12, 12 + archive[12] * 4  # of the block's header; its checksum is behind it
    assert archive[start + 2 : start + 4] == b"\x21\x01"
    archive[start + 4] = 2 * ((dictionary * MIB).bit_length() - 1 - 12)
    archive[end : end + 4] = zlib.crc32(archive[start:end]).to_bytes(4, "little")
    return bytes(archive)


def pax(records):
    """A header that extends the one that follows it."""
    text = b""
    for key, value in records.items():
        row = f" {key}={value}\n".encode()
        size = next(size for size in range(1, 10_000) if len(row) + len(str(size)) == size)
        text += str(size).encode() + row
    return padded(header(b"pax", b"x", size=len(text)) + text)


def padded(data):
    return data + bytes(-len(data) % 512)


def sparse(size, lines):
    """A file of that size, whose content begins with the list of its pieces."""
    records = {"GNU.sparse.major": 1, "GNU.sparse.minor": 0, "GNU.sparse.name": "f", "GNU.sparse.realsize": size}
    body = padded(lines)
    return pax(records) + padded(header(b"f", size=len(body) + 1) + body + b"x") + bytes(1024)


def old_sparse(n_blocks):
    """The same in GNU's old way, with blocks behind the header."""
    block = bytearray(header(b"f", b"S"))
    block[257:265], block[386:410], block[482] = b"ustar  \0", b"00000000001 00000000000 ", 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = b"00000000001 00000000000 " * 21 + b"\1" + bytes(7)
    return bytes(block) + more * n_blocks + bytes(1024)


# Memory


@pytest.mark.plain_build
def test_dictionaries(agent, space):
    """However much an archive asks for."""
    for size, unpacked, status in ((64, 100, 200), (256, 300, 413)):
        response, peak = put_and_measure(agent, space / "xz", xz(large_tar(unpacked), size))
        if status == 200:
            expect_done(response, space / "xz")
            (space / "xz" / "large").unlink()
        else:
            expect_refused(response, space / "xz", 413, "PAYLOAD_TOO_LARGE", ["MiB of memory", "more than 80"])
        assert peak < (100 if status == 200 else 16)
    PACKERS["tar.zst"](b"")  # or skip
    command = ["zstd", "-qc1", "--long=27"]
    archive = subprocess.run(command, input=large_tar(150), capture_output=True, check=True).stdout
    response, peak = put_and_measure(agent, space / "zst", archive)
    expect_done(response, space / "zst")
    assert peak < 150
    # One GiB; the first block says that a byte is repeated.
    archive = b"\x28\xb5\x2f\xfd\x00\xa0" + (64 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + bytes(1000)
    response, peak = put_and_measure(agent, space / "x", archive)
    expect_refused(response, space / "x", 413, "PAYLOAD_TOO_LARGE", ["memory"])
    assert peak < 16


@pytest.mark.plain_build
def test_methods_of_zips(agent, space):
    archive = bytearray(make_zip(entry("large", bytes(150 * MIB)), compression=zipfile.ZIP_LZMA))
    at = archive.find(b"large") + len(b"large") + 5  # the size of the dictionary
    assert archive[at : at + 4] == (8 * MIB).to_bytes(4, "little")
    archive[at : at + 4] = (1024 * MIB).to_bytes(4, "little")
    response, peak = put_and_measure(agent, space / "x", bytes(archive))
    expect_refused(response, space / "x", words=["large", "method"])
    assert peak < 16
    expect_done(put(agent, space / "x", make_zip(entry("a", b"x"), compression=zipfile.ZIP_BZIP2)), space / "x")


@pytest.mark.plain_build
@pytest.mark.parametrize("archive", [
    lambda: sparse(100, b"2000000\n" + b"0\n0\n" * 2_000_000),
    lambda: old_sparse(50_000),
    lambda: gzip.compress(old_sparse(50_000)),
], ids=["sparse", "old sparse", "packed"])  # fmt: skip
def test_long_headers(agent, space, archive):
    """The list of a sparse file's pieces is kept in memory."""
    response, peak = put_and_measure(agent, space / "x", archive())
    expect_refused(response, space / "x", 413, "PAYLOAD_TOO_LARGE", ["header", "2097152"])
    assert peak < 40


def test_long_headers_that_are_fine(agent, space):
    expect_done(put(agent, space, sparse(70_000, b"30000\n" + b"0\n0\n" * 29_999 + b"69999\n1\n")), space)
    assert (space / "f").read_bytes() == bytes(69_999) + b"x"
    # Zeros at the end are no header.
    expect_done(put(agent, space, gzip.compress(make_tar(entry("a", b"x")) + bytes(20 * MIB))), space)


# What entries say


def test_a_name_that_begins_as_a_zip_archive(agent, space):
    expect_done(put(agent, space, make_tar(entry("PKGBUILD", b"x"))), space)
    assert (space / "PKGBUILD").read_text() == "x"


def test_what_the_file_system_cannot_hold(new_agent):
    agent = new_agent(max_extract="0")
    response = put(agent, agent.workspace / "x", sparse(1 << 62, b"1\n%d\n1\n" % ((1 << 62) - 1)))
    expect_refused(response, agent.workspace / "x", 413, "PAYLOAD_TOO_LARGE", ["too large for the file system"])


def test_names_of_windows(agent, space):
    for name, there in (("..\\..\\x", None), ("\\x", None), ("C:\\x", "C:/x"), ("a\\b", "a/b")):
        data, target = io.BytesIO(), space / "target"
        with zipfile.ZipFile(data, "w") as archive:
            row = zipfile.ZipInfo(name)
            row.create_system = 0
            archive.writestr(row, b"x")
        response = put(agent, target, data.getvalue())
        if there:
            expect_done(response, target)
            assert (target / there).read_text() == "x"
        else:
            expect_refused(response, target)
        assert set(os.listdir(space)) <= {"target"}


@pytest.mark.parametrize("key, value, status", [
    ("size", "-1", 400), ("size", 1 << 63, 400), ("size", (1 << 63) - 1, 400),
    ("GNU.sparse.map", f"{(1 << 63) - 1},9", 400), ("GNU.sparse.map", "-5,10", 200), ("GNU.sparse.realsize", "-5", 200),
    ("mtime", "9" * 18, 200), ("mtime", "-" + "9" * 18, 200), ("mtime", f"{THEN}.9999999999999", 200),
    ("SCHILY.xattr.user.x", "y", 200), ("SCHILY.acl.access", "user::rwx,other::rwx,group::rwx", 200),
    ("SCHILY.fflags", "uappnd,uimmutable", 200),
])  # fmt: skip
def test_odd_records(agent, space, key, value, status):
    archive = pax({key: value}) + padded(header(b"f", size=1) + b"x") + bytes(1024)
    response = put(agent, space / "x", archive)
    if status == 200:
        expect_done(response, space / "x")
        (file,) = (space / "x").iterdir()
        assert os.listxattr(file) == [] and stat.S_IMODE(file.stat().st_mode) in (0o644, 0o777)
        file.unlink()
    else:
        expect_refused(response, space / "x", status)
