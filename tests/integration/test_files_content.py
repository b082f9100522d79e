# SPDX-License-Identifier: Apache-2.0
"""GET /files/read and POST /files/write."""

import base64
import contextlib
import ctypes
import http.client
import json
import os
import pwd
import socket
import stat
import threading

import pytest

from lib import tokens
from lib.agent import Agent
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.files import ODD_NAMES, get, post, read, remove, write
from lib.waiting import is_plain_build

MIB = 1024 * 1024
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture
def space(agent, tmp_path_factory):
    """A directory that file requests may reach."""
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.mark.smoke
def test_a_text(agent, space):
    path = space / "hello.txt"
    answer = write(agent, path, "Grüße\n")
    assert answer["success"] is True and answer["path"] == str(path) and answer["size"] == 8
    assert answer["message"] and TIMESTAMP.match(answer["timestamp"]) and answer["created"] is True
    assert path.read_text() == "Grüße\n"
    document = read(agent, path)
    assert (document["content"], document["path"], document["size"]) == ("Grüße\n", str(path), 8)
    assert document["encoding"] == "utf-8" and document["eof"] is True
    assert write(agent, path, "")["created"] is False
    assert read(agent, path)["content"] == "" and path.stat().st_size == 0


def test_bytes(agent, space):
    path = space / "deep" / "er" / "bytes"
    content = bytes(range(256)) * 3
    write(agent, path, content)
    assert path.read_bytes() == content
    document = read(agent, path, encoding="base64")
    assert base64.b64decode(document["content"]) == content
    assert (document["encoding"], document["size"]) == ("base64", 768)


def test_what_is_no_utf8_is_repaired(agent, space):
    (space / "odd").write_bytes(b"a\xffb\xe2\x82c\x00d")
    document = read(agent, space / "odd")
    assert document["content"] == "a\ufffdb\ufffdc\x00d" and document["size"] == 8


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(agent, space, name):
    write(agent, space / name, name)
    assert os.listdir(space) == [name]
    document = read(agent, space / name)
    assert document["content"] == name and document["path"] == str(space / name)


def test_a_plus_that_was_not_escaped(agent, space):
    """The asynchronous Python client puts paths into URLs as they are."""
    (space / "x+y").write_text("plus")
    for verb in ("read", "exists", "stat"):
        document = expect_json(agent.http.get(f"/files/{verb}?path={space}/x+y"))
        assert document["path"] == f"{space}/x+y"
    (space / "x y").write_text("blank")
    assert expect_json(agent.http.get(f"/files/read?path={space}/x+y"))["content"] == "blank"


def test_numbers_that_no_answer_could_say(agent, space):
    for field in ("offset", "limit", "line_start", "line_end"):
        response = get(agent, "read", path=str(space), **{field: 2**63})
        expect_error(response, 400, "INVALID_REQUEST", f"/{field}")


def test_names_that_are_no_utf8(agent, space):
    """A query can say them."""
    with open(os.fsencode(space) + b"/caf\xe9", "w") as file:
        file.write("au lait")
    document = expect_json(agent.http.get(f"/files/read?path={space}/caf%E9"))
    assert (document["content"], document["path"]) == ("au lait", f"{space}/caf\ufffd")
    (match,) = expect_json(agent.http.get(f"/files/search?pattern=lait&path={space}/caf%E9"))["matches"]
    assert match["path"] == f"{space}/caf\ufffd"


def test_relative_paths_begin_at_the_workspace(agent, space):
    write(agent, f"{space.name}/relative", "x")
    assert (space / "relative").read_text() == "x"
    assert read(agent, f"./{space.name}/../{space.name}/relative")["content"] == "x"


LINES = "".join(f"line {number}\n" for number in range(1, 11))


@pytest.mark.parametrize(
    "params, content, eof",
    [
        ({"offset": 0, "limit": 4}, "line", False),
        ({"offset": 5, "limit": 1}, "1", False),
        ({"offset": len(LINES) - 3}, "10\n", True),
        ({"offset": len(LINES)}, "", True),
        ({"offset": 10**15}, "", True),
        ({"limit": 0}, LINES, True),
        ({"line_start": 1, "line_end": 1}, "line 1\n", False),
        ({"line_start": 9}, "line 9\nline 10\n", True),
        ({"line_end": 2}, "line 1\nline 2\n", False),
        ({"line_start": 3, "line_end": 4}, "line 3\nline 4\n", False),
        ({"line_start": 10, "line_end": 1000}, "line 10\n", True),
        ({"line_start": 11}, "", True),
    ],
)
def test_parts(agent, space, params, content, eof):
    (space / "lines").write_text(LINES)
    document = read(agent, space / "lines", **params)
    assert document["content"] == content
    assert (document["length"], document["size"], document["eof"]) == (len(content), len(LINES), eof)
    if "line_start" in params:
        assert document["line_count"] == content.count("\n")


def test_files_of_the_kernel(agent, new_agent):
    everything = new_agent(allowed_path="/")
    assert read(everything, "/proc/version")["content"].startswith("Linux")
    expect_error(get(everything, "read", "/proc/self/environ"), 403, "PATH_NOT_ALLOWED")


def test_large_files(agent, space):
    content = os.urandom(MIB).hex() * 4
    write(agent, space / "large", content)
    assert (space / "large").read_text() == content
    assert read(agent, space / "large")["content"] == content
    with open(space / "huge", "wb") as file:
        file.truncate(33 * MIB)
    answer = expect_error(get(agent, "read", space / "huge"), 413, "PAYLOAD_TOO_LARGE")
    assert "/files/download" in answer["message"] and answer["path"] == str(space / "huge")
    assert read(agent, space / "huge", offset=32 * MIB, limit=2)["content"] == "\0\0"


def test_modes(agent, space):
    def mode(name):
        return stat.S_IMODE((space / name).stat().st_mode)

    write(agent, space / "script", "#!/bin/sh\n", mode="0755")
    write(agent, space / "secret", "", mode="600")
    write(agent, space / "plain", "")
    assert (mode("script"), mode("secret"), mode("plain")) == (0o755, 0o600, 0o644)
    write(agent, space / "script", "new")
    assert mode("script") == 0o755, "who gives no mode keeps it"


def test_overwrite_and_append(agent, space):
    path = space / "once"
    write(agent, path, "first", overwrite=False)
    body = {"path": str(path), "content": "second", "overwrite": False}
    answer = expect_error(agent.http.post("/files/write", json=body), 409, "FILE_ALREADY_EXISTS")
    assert answer["path"] == answer["details"]["path"] == str(path)
    assert path.read_text() == "first"
    write(agent, path, ", second", append=True)
    assert path.read_text() == "first, second"
    expect_error(agent.http.post("/files/write", json={**body, "append": True}), 400, "INVALID_REQUEST", "/append")


@pytest.mark.parametrize(
    "fields, code, field",
    [
        ({"content": "x"}, "MISSING_PARAMETER", "/path"),
        ({"path": "x"}, "MISSING_PARAMETER", "/content"),
        ({"path": "", "content": ""}, "INVALID_REQUEST", "/path"),
        ({"path": "x", "content": 1}, "INVALID_REQUEST", "/content"),
        ({"path": "a\0b", "content": ""}, "INVALID_REQUEST", "/path"),
        ({"path": "x", "content": "a=b", "encoding": "base64"}, "INVALID_REQUEST", "/content"),
        ({"path": "x", "content": "", "encoding": "latin-1"}, "INVALID_REQUEST", "/encoding"),
        ({"path": "x", "content": "", "mode": "0999"}, "INVALID_REQUEST", "/mode"),
        ({"path": "x", "content": "", "mode": "rw-r--r--"}, "INVALID_REQUEST", "/mode"),
        ({"path": "x", "content": "", "mode": "10000"}, "INVALID_REQUEST", "/mode"),
        ({"path": "x", "content": "", "mode": 644}, "INVALID_REQUEST", "/mode"),
        ({"path": "a" * 256, "content": ""}, "INVALID_PATH", "/path"),
        ({"path": "a/" * 2047 + "a", "content": ""}, "INVALID_PATH", "/path"),
        ({"path": ".", "content": ""}, "INVALID_PATH", "/path"),
    ],
)
def test_what_cannot_be_written(agent, fields, code, field):
    expect_error(post(agent, "write", **fields), 400, code, field)


@pytest.mark.parametrize(
    "params, code, field",
    [
        ({}, "MISSING_PARAMETER", "/path"),
        ({"path": ""}, "INVALID_REQUEST", "/path"),
        ({"path": "a\0b"}, "INVALID_REQUEST", "/path"),
        ({"path": "x", "offset": "-1"}, "INVALID_REQUEST", "/offset"),
        ({"path": "x", "encoding": "hex"}, "INVALID_REQUEST", "/encoding"),
        ({"path": "x", "line_start": 3, "line_end": 2}, "INVALID_REQUEST", "/line_end"),
    ],
)
def test_what_cannot_be_read(agent, params, code, field):
    expect_error(agent.http.get("/files/read", params=params), 400, code, field)


def test_what_is_no_file(agent, space):
    os.mkfifo(space / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(space / "s"))
        for name in ("fifo", "s", "."):
            answer = expect_error(get(agent, "read", space / name), 400, "INVALID_PATH", "/path")
            assert answer["path"] == str(space / name)
        for name in ("fifo", "s", "."):
            expect_error(post(agent, "write", path=str(space / name), content=""), 400, "INVALID_PATH", "/path")
    answer = expect_error(get(agent, "read", space / "none"), 404, "FILE_NOT_FOUND")
    assert answer["message"] == f"File not found: {space / 'none'}"


@pytest.mark.parametrize("path", ["/etc/shadow", "/../etc/passwd", "/proc/self/root/etc/passwd", "/dev/null"])
def test_what_is_outside(agent, space, path):
    for response in (get(agent, "read", path), post(agent, "write", path=path, content="")):
        answer = expect_error(response, 403, "PATH_NOT_ALLOWED")
        assert answer["path"] == answer["details"]["path"] == path
    (space / "link").symlink_to("/etc")
    expect_error(get(agent, "read", space / "link" / "passwd"), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "write", path=str(space / "link" / "x"), content=""), 403, "PATH_NOT_ALLOWED")
    assert not os.path.exists("/etc/x")


def test_a_reader_never_sees_a_half(agent, space):
    """Writers replace a file while it is read."""
    path = space / "flipping"
    contents = {letter: letter * 200_000 for letter in "ab"}
    write(agent, path, contents["a"])
    failures = []

    def flip():
        for turn in range(20):
            response = post(agent, "write", path=str(path), content=contents["ab"[turn % 2]])
            if response.status_code != 200:
                failures.append(response.text)

    writer = threading.Thread(target=flip)
    writer.start()
    while writer.is_alive():
        assert read(agent, path)["content"] in contents.values()
    writer.join()
    assert not failures and os.listdir(space) == ["flipping"]


def test_a_token_is_needed(agent, space):
    (space / "secret").write_text("x")
    assert agent.anonymous.get("/files/read", params={"path": str(space / "secret")}).status_code == 401
    assert agent.anonymous.post("/files/write", json={"path": "x", "content": ""}).status_code == 401


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_files_belong_to_the_user(new_agent):
    agent = new_agent(run_as="nobody")
    agent.workspace.chmod(0o777)
    write(agent, "sub/mine", "x")
    nobody = pwd.getpwnam("nobody").pw_uid
    for name in ("sub", "sub/mine"):
        assert (agent.workspace / name).stat().st_uid == nobody
    secret = agent.workspace / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    answer = expect_error(get(agent, "read", secret), 403, "PERMISSION_DENIED")
    assert answer["path"] == str(secret)
    expect_error(post(agent, "write", path=str(secret), content=""), 403, "PERMISSION_DENIED")
    assert secret.read_text() == "x"


def test_allowed_paths_are_an_option(new_agent, tmp_path):
    agent = new_agent(allowed_path=tmp_path)
    (tmp_path / "x").write_text("x")
    assert read(agent, tmp_path / "x")["content"] == "x"
    expect_error(get(agent, "read", "/tmp/none"), 403, "PATH_NOT_ALLOWED")
    write(agent, "in-the-workspace", "x")


@pytest.mark.skipif(not is_plain_build(), reason="slow")
def test_many_readers_of_large_files(agent, space):
    """What is being sent is counted, and given back."""
    with open(space / "large", "wb") as file:
        file.truncate(30 * MIB)
    for _ in range(8):
        assert len(read(agent, space / "large", encoding="base64")["content"]) == 40 * MIB


@pytest.mark.parametrize("name", ["path", "content", "mode", "encoding", "overwrite", "append", "sync", "parents"])
@pytest.mark.parametrize("value", [1, -1.5, 2**70, [], {}, ["x"], {"a": 1}])
def test_wrong_types(agent, space, name, value):
    """Nothing is guessed, and nothing is made."""
    fields = {"path": str(space / "file"), "content": "", name: value}
    response = post(agent, "write", **fields)
    if response.json().get("code") == "INVALID_JSON":
        assert response.status_code == 400, "a number that is none of ours"
    else:
        expect_error(response, 400, "INVALID_REQUEST", f"/{name}")
    assert os.listdir(space) == []


def test_nulls_are_not_there(agent, space):
    names = ("mode", "encoding", "overwrite", "append", "sync", "parents")
    write(agent, space / "file", "x", **dict.fromkeys(names))
    assert (space / "file").read_text() == "x"
    expect_error(post(agent, "write", path=None, content=""), 400, "MISSING_PARAMETER", "/path")
    expect_error(post(agent, "write", path="x", content=None), 400, "MISSING_PARAMETER", "/content")


@pytest.mark.parametrize(
    "path, real",
    [
        ("SPACE//file", "file"),
        ("SPACE/./file", "file"),
        ("SPACE/sub/../file", "file"),
        ("//SPACE/file", "file"),
        ("SPACE/link/file", "sub/file"),
        ("SPACE/ ", " "),
        ("SPACE/new/file", "new/file"),
    ],
)
def test_spellings(agent, space, path, real):
    (space / "sub").mkdir()
    (space / "link").symlink_to("sub")
    path = path.replace("SPACE", str(space))
    assert write(agent, path, "x")["path"] == path
    assert (space / real).read_text() == "x" and read(agent, path)["content"] == "x"


@pytest.mark.parametrize("path", ["none/", "none//", "dir/", "file/", "file/x", "file/..", "dir/.", "dir", "dir/.."])
def test_what_no_file_can_be_called(agent, space, path):
    (space / "dir").mkdir()
    (space / "file").write_text("x")
    expect_error(post(agent, "write", path=f"{space}/{path}", content=""), 400, "INVALID_PATH", "/path")
    assert sorted(os.listdir(space)) == ["dir", "file"] and (space / "file").read_text() == "x"


def test_links_are_written_through(agent, space):
    (space / "target").write_text("old")
    (space / "link").symlink_to("target")
    (space / "dangling").symlink_to("sub/made")
    (space / "loop").symlink_to("loop")
    write(agent, space / "link", "new")
    write(agent, space / "dangling", "new")
    assert (space / "link").is_symlink() and (space / "target").read_text() == "new"
    assert (space / "dangling").is_symlink() and (space / "sub" / "made").read_text() == "new"
    write(agent, space / "link", ", more", append=True)
    assert (space / "target").read_text() == "new, more"
    expect_error(post(agent, "write", path=str(space / "loop"), content=""), 400, "INVALID_PATH", "/path")
    response = post(agent, "write", path=str(space / "link"), content="", overwrite=False)
    expect_error(response, 409, "FILE_ALREADY_EXISTS")


def test_other_names_of_a_file_keep_the_old_content(agent, space):
    (space / "file").write_text("old")
    (space / "twin").hardlink_to(space / "file")
    (space / "file").chmod(0o6755)
    write(agent, space / "file", "new")
    assert (space / "twin").read_text() == "old"
    assert stat.S_IMODE((space / "file").stat().st_mode) == 0o6755


def together(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_of_many_creators_wins(agent, space):
    for turn in range(10):
        path = space / str(turn)
        codes = {}

        def create(letter, path=path, codes=codes):
            response = post(agent, "write", path=str(path), content=letter * 5000, overwrite=False)
            codes[letter] = response.status_code

        together(*(lambda letter=letter: create(letter) for letter in "abcd"))
        winners = [letter for letter, code in codes.items() if code == 200]
        assert len(winners) == 1 and sorted(codes.values()) == [200, 409, 409, 409]
        assert path.read_text() == winners[0] * 5000
    assert len(os.listdir(space)) == 10


def test_appends_do_not_mix(agent, space):
    """Whoever comes first makes the file, and the others do not mind."""
    letters = "abcdefgh"
    headers = {"Authorization": f"Bearer {tokens.token()}"}
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", agent.port)))
            for _ in letters
        ]
        for turn in range(40):
            for letter, client in zip(letters, clients, strict=True):
                fields = {"path": str(space / str(turn)), "content": letter * 1000 + "\n", "append": True}
                client.request("POST", "/files/write", json.dumps(fields), headers)
            for client in clients:
                response = client.getresponse()
                assert (response.status, response.read()[:1]) == (200, b"{")
    for turn in range(40):
        lines = (space / str(turn)).read_text().splitlines()
        assert sorted(lines) == [letter * 1000 for letter in letters]


def test_a_name_that_turns_into_a_link(agent, space, tmp_path_factory):
    """While files are written, read, removed and copied below it. What is outside is never touched."""
    outside = tmp_path_factory.mktemp("outside")
    limited = Agent(allowed_path=space)
    try:
        (outside / "file").write_text("secret")
        (outside / "kept").write_text("kept")
        (space / "dir").mkdir()
        (space / "link").symlink_to(outside)
        is_over = threading.Event()

        def swap():
            libc = ctypes.CDLL(None)
            names = os.fsencode(space / "dir"), os.fsencode(space / "link")
            while not is_over.is_set():
                libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)

        swapper = threading.Thread(target=swap)
        swapper.start()
        seen = set()
        try:
            for turn in range(15):
                name = str(space / "dir" / "file")
                responses = [
                    post(limited, "write", path=name, content="ours"),
                    get(limited, "read", name),
                    get(limited, "stat", name),
                    post(limited, "replace", path=name, old="ours", new="mine"),
                    post(limited, "replace", path=name, old="secret", new="mine"),
                    post(limited, "copy", **{"from": name, "to": str(space / f"copy{turn}")}),
                    post(limited, "chmod", path=name, mode="0777"),
                    post(limited, "batch", files=[{"path": str(space / "dir" / "kept"), "content": "ours"}]),
                    limited.http.delete("/files/remove", params={"path": name}),
                    limited.http.delete("/files/remove", params={"path": str(space / "dir" / "kept")}),
                ]
                seen |= {response.status_code for response in responses}
                assert "secret" not in "".join(response.text for response in responses)
                assert responses[4].status_code != 200
        finally:
            is_over.set()
            swapper.join()
        assert seen <= {200, 403, 404, 409} and 200 in seen, seen
        assert sorted(os.listdir(outside)) == ["file", "kept"]
        assert (outside / "file").read_text() == "secret" and (outside / "kept").read_text() == "kept"
        assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644
    finally:
        limited.close()


def test_the_workspace_stays(agent, space):
    """Although it is in another allowed directory: neither it nor what it is in can be removed, moved or replaced."""
    (space / "kept").mkdir()
    workspace = agent.workspace
    for path in (".", "./", workspace, f"{workspace}/", f"{workspace}/.", workspace.parent, f"{space}/../../workspace"):
        expect_error(remove(agent, path), 403, "PATH_NOT_ALLOWED")
        for source, to in ((path, "/tmp/never"), (space / "kept", path)):
            response = post(agent, "move", **{"from": str(source), "to": str(to), "overwrite": True})
            expect_error(response, 403, "PATH_NOT_ALLOWED")
    assert os.listdir(space) == ["kept"]
