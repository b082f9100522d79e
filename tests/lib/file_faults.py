# SPDX-License-Identifier: Apache-2.0
"""Operations on files that faults of the disk are to meet, and the places where they meet them."""

import pytest

from lib import tokens
from lib.expect import expect_error
from lib.files import post, remove

KIB = 1024
BIG = bytes(range(1, 127)) * 3 * KIB  # text
BIG_TEXT = BIG.decode()
BOUNDARY = "--------------------------318243"
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name, value, filename=None):
    names = f'name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {names}\r\n\r\n".encode() + value + b"\r\n"


def form(agent, *parts):
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return agent.http.post("/files/upload", content=body, headers=FORM)


def path_field(path):
    return part("path", str(path).encode())


def put(agent, path, content):
    return agent.http.put("/files/upload", params={"path": str(path)}, content=content)


def transfer(agent, verb, source, target):
    return post(agent, verb, **{"from": str(source), "to": str(target)}, overwrite=True)


def batch(agent, contents):
    """Writes several files: path -> text."""
    return post(agent, "batch", files=[{"path": str(path), "content": text} for path, text in contents.items()])


def expect_blame(response, status, code, path, field=None):
    document = expect_error(response, status, code, field)
    assert document["path"] == document["details"]["path"] == str(path), document
    entry = document["details"].get("entry")
    assert document["message"].endswith(f": {path}/{entry}" if entry else f": {path}"), document
    assert ".vm-agent" not in document["message"], document
    return document


@pytest.fixture
def sources(space):
    """What does not fit on a small disk."""
    sources = space / "sources"
    (sources / "tree" / "below").mkdir(parents=True)
    (sources / "file").write_bytes(BIG)
    for number in range(8):
        (sources / "tree" / "below" / str(number)).write_bytes(BIG[: 50 * KIB])
    (sources / "tree" / "link").symlink_to("below")
    return sources


def write_big(agent, path, **fields):
    return post(agent, "write", path=str(path), content=BIG_TEXT, **fields)


# Requests that need room: of (agent, disk, sources); and the path that is at fault.
NEEDS_ROOM = {
    "write": (lambda a, d, s: write_big(a, d / "file"), "file"),
    "write a new file": (lambda a, d, s: write_big(a, d / "new"), "new"),
    "append": (lambda a, d, s: write_big(a, d / "file", append=True), "file"),
    "append to a new file": (lambda a, d, s: write_big(a, d / "new", append=True), "new"),
    "form": (lambda a, d, s: form(a, path_field(d / "file"), part("file", BIG, "x")), "file"),
    "form, the path last": (lambda a, d, s: form(a, part("file", BIG, "x"), path_field(d / "file")), "file"),
    "put": (lambda a, d, s: put(a, d / "file", BIG), "file"),
    "put a new file": (lambda a, d, s: put(a, d / "new", BIG), "new"),
    "copy": (lambda a, d, s: transfer(a, "copy", s / "file", d / "file"), "file"),
    "copy a tree": (lambda a, d, s: transfer(a, "copy", s / "tree", d / "new"), "new"),
    "move": (lambda a, d, s: transfer(a, "move", s / "file", d / "file"), "file"),
    "move a tree": (lambda a, d, s: transfer(a, "move", s / "tree", d / "new"), "new"),
    "replace": (lambda a, d, s: post(a, "replace", path=f"{d}/file", old="old", new=BIG_TEXT), "file"),
    "batch": (lambda a, d, s: batch(a, {d / "a": "a", d / "file": "b", d / "new": BIG_TEXT}), "new"),
}


# Requests that need an inode. A temporary file is one.
NEEDS_INODE = {
    "write": (lambda a, d, s: post(a, "write", path=f"{d}/file", content="x"), "file"),
    "write a new file": (lambda a, d, s: post(a, "write", path=f"{d}/new", content="x"), "new"),
    "write below": (lambda a, d, s: post(a, "write", path=f"{d}/new/a/b", content="x"), "new/a/b"),
    "append to a new file": (lambda a, d, s: post(a, "write", path=f"{d}/new", content="x", append=True), "new"),
    "form": (lambda a, d, s: form(a, path_field(d / "file"), part("file", b"x", "x")), "file"),
    "form, the path last": (lambda a, d, s: form(a, part("file", b"x", "x"), path_field(d / "file")), "file"),
    "put": (lambda a, d, s: put(a, d / "file", b"x"), "file"),
    "copy": (lambda a, d, s: transfer(a, "copy", d / "other", d / "file"), "file"),
    "copy a tree": (lambda a, d, s: transfer(a, "copy", s / "tree", d / "new"), "new"),
    "move a link": (lambda a, d, s: transfer(a, "move", s / "tree" / "link", d / "new"), "new"),
    "move": (lambda a, d, s: transfer(a, "move", s / "file", d / "file"), "file"),
    "replace": (lambda a, d, s: post(a, "replace", path=f"{d}/file", old="old", new="new"), "file"),
    "batch": (lambda a, d, s: batch(a, {d / "file": "x"}), "file"),
    "mkdir": (lambda a, d, s: post(a, "mkdir", path=f"{d}/new"), "new"),
    "mkdir -p": (lambda a, d, s: post(a, "mkdir", path=f"{d}/new/a/b"), "new/a/b"),
}


# Everything that changes something.
CHANGES = {
    **{name: request for name, (request, _) in NEEDS_ROOM.items()},
    **{name: request for name, (request, _) in NEEDS_INODE.items() if "mkdir" in name},
    "write below": lambda a, d, s: write_big(a, d / "new/a/b"),
    "move away": lambda a, d, s: transfer(a, "move", d / "file", s / "new"),
    "move a tree away": lambda a, d, s: transfer(a, "move", d / "tree", s / "new"),
    "move within": lambda a, d, s: transfer(a, "move", d / "file", d / "new"),
    "chmod": lambda a, d, s: post(a, "chmod", path=f"{d}/file", mode="0600"),
    "chown": lambda a, d, s: post(a, "chmod", path=f"{d}/file", owner="nobody"),
    "remove": lambda a, d, s: remove(a, d / "file"),
    "remove a tree": lambda a, d, s: remove(a, d / "tree"),
}
