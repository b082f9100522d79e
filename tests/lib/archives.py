# SPDX-License-Identifier: Apache-2.0
"""Archives to upload, and what becomes of them."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile

import pytest

from lib.expect import TIMESTAMP, expect_error, expect_json

THEN = 1_500_000_000  # when all entries were changed


def entry(name, content=None, **attributes):
    """A file, or what the attributes say, for make_tar."""
    info = tarfile.TarInfo(name)
    info.mtime = THEN
    info.size = len(content or b"")
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def directory(name, mode=0o755):
    return entry(name, type=tarfile.DIRTYPE, mode=mode)


def link(name, target):
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name, target):
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def make_tar(*entries, tar_format=tarfile.PAX_FORMAT):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tar_format) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content or b""))
    return data.getvalue()


def make_zip(*entries, compression=zipfile.ZIP_DEFLATED):
    """Of the same entries."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for info, content in entries:
            is_directory = info.type == tarfile.DIRTYPE
            row = zipfile.ZipInfo(info.name + "/" * is_directory, (2017, 7, 14, 2, 40, 0))
            kind = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}.get(info.type, stat.S_IFREG)
            row.create_system, row.external_attr = 3, (kind | info.mode) << 16
            row.compress_type = compression
            archive.writestr(row, info.linkname if info.type == tarfile.SYMTYPE else content or b"")
    return data.getvalue()


def zstd(data):
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


PACKERS = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress, "tar.zst": zstd}

def header(name, kind=b"0", target=b"", size=0):
    """A header of a tar archive that no library would write."""
    block = bytearray(512)
    block[0 : len(name)] = name[:100]
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124:136], block[136:148] = b"%011o\0" % size, b"%011o\0" % THEN
    block[156:157], block[157 : 157 + len(target)] = kind, target
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def put(agent, path, content, **params):
    params = {"extract": "true", **({} if path is None else {"path": str(path)}), **params}
    return agent.http.put("/files/upload", params=params, content=content)


def post(agent, path, content, **data):
    files = {"file": ("archive.bin", content)}
    data = {"extract": "true", **data, **({} if path is None else {"path": str(path)})}
    return agent.http.post("/files/upload", files=files, data=data)


def expect_done(response, path):
    document = expect_json(response)
    assert document["success"] is True and document["extracted"] is True and document["message"]
    assert TIMESTAMP.match(document["timestamp"])
    assert document["path"] == str(path)
    kinds = document["regular_files"], document["directories"], document["links"]
    assert document["entries"] == sum(kinds)
    assert len(document["files"]) == 1 and document["files"][0]["path"] == str(path)
    return document


def expect_refused(response, target, status=400, code="INVALID_REQUEST", words=()):
    document = expect_error(response, status, code)
    assert document["path"] == str(target), document
    for word in words:
        assert word in document["message"], document
    assert ".vm-agent" not in document["message"] or words == ["reserved"]
    assert not target.exists() or snapshot(target) == {}
    return document


def snapshot(top):
    """Everything below a directory, hidden things included."""
    found = {}
    for path, directories, files in os.walk(os.fsencode(top)):
        for name in directories + files:
            full = os.path.join(path, name)
            status = os.lstat(full)
            row = [stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), int(status.st_mtime)]
            if stat.S_ISREG(status.st_mode):
                with open(full, "rb") as file:
                    row.append(file.read())
            if stat.S_ISLNK(status.st_mode):
                row[1:] = [os.readlink(full)]
            found[os.path.relpath(full, os.fsencode(top))] = row
    return found


def expect_no_litter(agent):
    assert not [name for name in os.listdir(agent.workspace) if name.startswith(".")]
