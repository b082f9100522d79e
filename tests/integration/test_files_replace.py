# SPDX-License-Identifier: Apache-2.0
"""POST /files/replace, and the differences that it answers."""

import http.client
import json
import random
import re
import shutil
import stat
import subprocess
import threading

import pytest

from lib import tokens
from lib.expect import expect_error, expect_json
from lib.files import ODD_NAMES, post
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def replace(agent, path, old, new, **fields):
    return expect_json(post(agent, "replace", path=str(path), old=old, new=new, **fields))


def lines_of(text):
    """With their line breaks: \\n alone ends a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def apply(text, diff):
    """What patch makes of the text; every line of the difference has to fit."""
    old, new, at = lines_of(text), [], 0
    lines = lines_of(diff)
    assert lines[0].startswith("--- ") and lines[1].startswith("+++ ")
    hunk = None
    position = 2
    while position < len(lines):
        hunk = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@\n", lines[position])
        assert hunk, lines[position]
        first, n_old, new_first, n_new = map(int, hunk.groups())
        begin = first - (n_old > 0)
        assert begin >= at, "hunks come in order, and do not overlap"
        new += old[at:begin]
        at = begin
        assert new_first == len(new) + (n_new > 0)
        position += 1
        seen_old = seen_new = 0
        while position < len(lines) and not lines[position].startswith("@@"):
            mark, line = lines[position][0], lines[position][1:]
            position += 1
            if position < len(lines) and lines[position].startswith("\\"):
                line = line[:-1]
                position += 1
            if mark in " -":
                assert old[at] == line
                at += 1
                seen_old += 1
            if mark in " +":
                new.append(line)
                seen_new += 1
        assert (seen_old, seen_new) == (n_old, n_new)
    assert hunk, "there is a difference"
    return "".join(new + old[at:])


@pytest.mark.smoke
def test_an_edit(agent, space):
    path = space / "main.py"
    path.write_text("import os\n\ndef main():\n    return 1\n")
    path.chmod(0o755)
    answer = replace(agent, path, "return 1", "return 2")
    assert answer["success"] is True and answer["count"] == 1 and answer["path"] == str(path)
    assert path.read_text() == "import os\n\ndef main():\n    return 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert answer["diff"] == (
        "--- main.py\n+++ main.py\n@@ -1,4 +1,4 @@\n import os\n \n def main():\n-    return 1\n+    return 2\n"
    )


def test_exactly_once(agent, space):
    path = space / "file"
    path.write_text("a b a")
    fields = {"path": str(path), "old": "a", "new": "c"}
    answer = expect_error(post(agent, "replace", **fields), 409, "TEXT_NOT_UNIQUE", "/old")
    assert "2 times" in answer["message"] and answer["path"] == str(path)
    answer = expect_error(post(agent, "replace", **{**fields, "old": "z"}), 409, "TEXT_NOT_FOUND", "/old")
    assert path.read_text() == "a b a"
    assert replace(agent, path, "a", "c", all=True)["count"] == 2
    assert path.read_text() == "c b c"


def test_a_dry_run(agent, space):
    path = space / "file"
    path.write_text("one\n")
    answer = replace(agent, path, "one", "two", dry_run=True)
    assert answer["dry_run"] is True and apply("one\n", answer["diff"]) == "two\n"
    assert path.read_text() == "one\n"


def test_what_cannot_be_replaced(agent, space):
    path = space / "file"
    path.write_text("x")
    good = {"path": str(path), "old": "x", "new": "y"}
    for name in good:
        fields = {key: value for key, value in good.items() if key != name}
        expect_error(post(agent, "replace", **fields), 400, "MISSING_PARAMETER", f"/{name}")
    expect_error(post(agent, "replace", **{**good, "old": ""}), 400, "INVALID_REQUEST", "/old")
    expect_error(post(agent, "replace", **{**good, "new": "x"}), 400, "INVALID_REQUEST", "/new")
    expect_error(post(agent, "replace", **{**good, "path": "/etc/passwd"}), 403, "PATH_NOT_ALLOWED")
    expect_error(post(agent, "replace", **{**good, "path": str(space / "none")}), 404, "FILE_NOT_FOUND")
    expect_error(post(agent, "replace", **{**good, "path": str(space)}), 400, "INVALID_PATH", "/path")
    with open(space / "huge", "wb") as file:
        file.truncate(17 * 1024 * 1024)
    expect_error(post(agent, "replace", **{**good, "path": str(space / "huge")}), 413, "PAYLOAD_TOO_LARGE")
    (space / "many").write_text("x" * 200_000)
    expect_error(
        post(agent, "replace", **{**good, "path": str(space / "many"), "all": True}), 413, "PAYLOAD_TOO_LARGE"
    )


def test_bytes_are_kept(agent, space):
    path = space / "file"
    path.write_bytes(b"\xff\x00 old \xfe\r\n")
    replace(agent, path, " old ", "")
    assert path.read_bytes() == b"\xff\x00\xfe\r\n"


def test_a_long_difference_is_cut(agent, space):
    path = space / "file"
    path.write_text(("x" * 100 + "\n") * 10_000)
    answer = replace(agent, path, "x" * 100, "y", all=True)
    assert answer["diff_truncated"] is True and answer["count"] == 10_000
    assert path.read_text() == "y\n" * 10_000


@pytest.mark.parametrize(
    "text, old, new",
    [
        ("a", "a", ""),
        ("a\n", "a\n", ""),
        ("a\nb\n", "a\n", ""),
        ("a\nb\n", "b\n", ""),
        ("a\nb\n", "\n", ""),
        ("a\nb", "b", "b\n"),
        ("a\nb", "a\n", "a\n\n"),
        ("a\nb\nc\n", "b", "x\ny"),
        ("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", "a\n", "z\n"),
        ("x\n" * 20 + "end", "end", "END\n"),
        ("ab" * 5, "b", "\n"),
    ],
)
def test_differences(agent, space, text, old, new):
    path = space / "file"
    path.write_text(text)
    answer = replace(agent, path, old, new, all=True)
    assert path.read_text() == text.replace(old, new)
    assert apply(text, answer["diff"]) == text.replace(old, new)


def test_differences_at_random(agent, space):
    dice = random.Random(5)
    path = space / "file"
    for _ in range(150):
        text = "".join(dice.choice("ab\n") for _ in range(dice.randrange(1, 120)))
        begin = dice.randrange(len(text))
        old = text[begin : begin + dice.randrange(1, 4)]
        new = "".join(dice.choice("ab\n") for _ in range(dice.randrange(0, 4)))
        if new == old:
            continue
        path.write_text(text)
        answer = replace(agent, path, old, new, all=True)
        assert answer["count"] == text.count(old)
        assert apply(text, answer["diff"]) == text.replace(old, new) == path.read_text(), (text, old, new)


@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch")
@pytest.mark.parametrize(
    "text, old, new",
    [
        ("a\nb\nc\n", "b", "x\ny"),
        ("one\r\ntwo\r\nthree\r\n", "two\r\n", "2\r\n"),
        ("one\ntwo", "two", "two\nthree"),
        ("one\ntwo", "one\n", ""),
        ("one\n", "one\n", "one"),
        ("x\n" * 30 + "mid\n" + "x\n" * 30 + "mid\n", "mid", "MID"),
        ("é\n\n\nü\n", "\n\n\n", "\n"),
    ],
)
def test_what_patch_makes_of_it(agent, space, tmp_path, text, old, new):
    (space / "file").write_bytes(text.encode())
    (tmp_path / "file").write_bytes(text.encode())
    answer = replace(agent, space / "file", old, new, all=True)
    result = subprocess.run(
        ["patch", "--binary", "--no-backup-if-mismatch", str(tmp_path / "file")],
        input=answer["diff"].encode(),
        capture_output=True,
    )
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "file").read_bytes() == (space / "file").read_bytes() == text.replace(old, new).encode()
    assert b"offset" not in result.stdout and b"fuzz" not in result.stdout


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(agent, space, name):
    """A name cannot be taken for a part of the difference."""
    (space / name).write_text("a\n")
    answer = replace(agent, space / name, "a", "b")
    assert (space / name).read_text() == "b\n" and answer["path"] == str(space / name)
    assert apply("a\n", answer["diff"]) == "b\n"
    if name == "line\nbreak":
        assert answer["diff"].startswith('--- "line\\012break"\n+++ "line\\012break"\n@@')


def test_the_exact_text(agent, space):
    path = space / "file"
    path.write_bytes(b"a\r\nb\r\n")
    fields = {"path": str(path), "old": "a\nb", "new": "x"}
    expect_error(post(agent, "replace", **fields), 409, "TEXT_NOT_FOUND", "/old")
    replace(agent, path, "a\r\nb", "x\0y")
    assert path.read_bytes() == b"x\0y\r\n"
    replace(agent, path, "\0", "")
    path.write_text("aaaa")
    assert replace(agent, path, "aa", "b", all=True)["count"] == 2, "from left to right, without overlaps"
    path.write_text("é")
    fields["old"] = "e"
    expect_error(post(agent, "replace", **fields), 409, "TEXT_NOT_FOUND", "/old")
    path.write_text("")
    expect_error(post(agent, "replace", **fields), 409, "TEXT_NOT_FOUND", "/old")


@pytest.mark.parametrize("name", ["path", "old", "new", "all", "dry_run"])
@pytest.mark.parametrize("value", [1, 1.5, [], {}, "a\0b", 10**400])
def test_wrong_types(agent, space, name, value):
    (space / "file").write_text("x")
    if name in ("old", "new") and isinstance(value, str):
        return
    fields = {"path": str(space / "file"), "old": "x", "new": "y", name: value}
    response = post(agent, "replace", **fields)
    if response.json().get("code") == "INVALID_JSON":
        assert response.status_code == 400
    else:
        expect_error(response, 400, "INVALID_REQUEST", f"/{name}")
    assert (space / "file").read_text() == "x"


def test_what_the_file_keeps(agent, space):
    """Its mode with all bits, the link that leads to it; another hard link keeps the old content."""
    path = space / "file"
    path.write_text("old")
    path.chmod(0o4755)
    (space / "link").symlink_to("file")
    (space / "twin").hardlink_to(path)
    assert replace(agent, space / "link", "old", "new")["path"] == str(space / "link")
    assert (space / "link").is_symlink() and path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o4755
    assert (space / "twin").read_text() == "old"


def test_edits_at_the_same_time(agent, space):
    """Whichever way they reach the file: each of them finds what the others have made of it."""
    n, turns = 6, 10
    path = space / "file"
    path.write_text("".join(f"slot {number}: 0;\n" for number in range(n)))
    (space / "link").symlink_to("file")
    failures = []

    def edit(number):
        name = f"{space}/link" if number % 2 else f"{space}/./file"
        for turn in range(turns):
            fields = {"old": f"slot {number}: {turn};", "new": f"slot {number}: {turn + 1};"}
            response = post(agent, "replace", path=name, **fields)
            if response.status_code != 200:
                failures.append(response.text)
                return

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert path.read_text() == "".join(f"slot {number}: {turns};\n" for number in range(n))
    assert sorted(entry.name for entry in space.iterdir()) == ["file", "link"]


def test_edits_that_fail_while_others_wait(agent, space):
    """A turn ends with any answer."""
    path = space / "file"
    path.write_text("a")
    codes = []

    def edit(old, new, dry_run=False):
        codes.append(post(agent, "replace", path=str(path), old=old, new=new, dry_run=dry_run).status_code)

    for _ in range(5):
        todo = [("z", "y"), ("a", "b"), ("b", "a"), ("a", "b", True), ("b", "a"), ("a", "b")]
        threads = [threading.Thread(target=edit, args=arguments) for arguments in todo]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(codes) == 30 and set(codes) <= {200, 409} and path.read_text() in ("a", "b")


def test_clients_that_leave_while_they_wait(agent, space):
    """Their turns pass to the others."""
    path = space / "file"
    path.write_text("a\n" * 2_000_000 + "end 0\n")
    for turn in range(3):
        clients = [http.client.HTTPConnection("127.0.0.1", agent.port) for _ in range(6)]
        for number, client in enumerate(clients):
            fields = {"path": str(path), "old": "a\nend", "new": f"b{turn}{number}\na\nend"}
            client.request("POST", "/files/replace", json.dumps(fields), {"Authorization": f"Bearer {tokens.token()}"})
        for client in clients:
            client.close()
        answer = replace(agent, path, f"end {turn}", f"end {turn + 1}")
        assert answer["count"] == 1
    wait_until(lambda: agent.gauges()["requests_live"] <= 1, "the edits to end")
    lines = path.read_text().splitlines()
    assert lines[-1] == "end 3" and lines.count("a") == 2_000_000
    assert len(lines) == len(set(lines)) + 2_000_000 - 1, "no edit was done twice"
    assert [entry.name for entry in space.iterdir()] == ["file"]
