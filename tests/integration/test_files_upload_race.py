# SPDX-License-Identifier: Apache-2.0
"""Uploads into a directory that somebody keeps exchanging for a link to a forbidden one."""

import ctypes
import os
import threading
from pathlib import Path

import pytest

AT_FDCWD = -100
RENAME_EXCHANGE = 2
OUTSIDE = Path("/var/lib")
TURNS = 500
HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}


def form(path, file_first):
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\ncontent\r\n'
    field = f'--b\r\nContent-Disposition: form-data; name="path"\r\n\r\n{path}\r\n'.encode()
    return (file + field if file_first else field + file) + b"--b--\r\n"


@pytest.fixture
def swapped(agent):
    """A directory that is a link half of the time, and the other name of it."""
    real, link = agent.workspace / "real", agent.workspace / "link"
    real.mkdir()
    link.symlink_to(OUTSIDE)
    libc = ctypes.CDLL(None)
    has_ended = threading.Event()
    failed = []

    def swap():
        while not has_ended.is_set() and not failed:
            if libc.renameat2(AT_FDCWD, os.fsencode(real), AT_FDCWD, os.fsencode(link), RENAME_EXCHANGE) != 0:
                failed.append(True)

    thread = threading.Thread(target=swap)
    thread.start()

    def end():
        has_ended.set()
        thread.join()
        if failed:
            pytest.skip("the file system cannot exchange names")
        return link if real.is_symlink() else real

    yield real, end
    has_ended.set()
    thread.join()


def test_swapped_directories(agent, swapped):
    path, end = swapped
    before = sorted(os.listdir(OUTSIDE))
    codes = set()
    for turn in range(TURNS):
        for way in ("path first", "file first", "raw"):
            if way == "raw":
                response = agent.http.put("/files/upload", params={"path": f"{path}/raw"}, content=b"content")
            else:
                body = form(path / str(turn % 5), way == "file first")
                response = agent.http.post("/files/upload", content=body, headers=HEADERS)
            codes.add((response.status_code, response.json().get("code")))
    directory = end()
    assert codes == {(200, None), (403, "PATH_NOT_ALLOWED")}
    assert sorted(os.listdir(OUTSIDE)) == before
    assert sorted(os.listdir(directory)) == [*"01234", "raw"]
    assert all(file.read_bytes() == b"content" for file in directory.iterdir())
    assert sorted(os.listdir(agent.workspace)) == ["link", "real"]
