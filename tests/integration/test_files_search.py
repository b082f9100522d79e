# SPDX-License-Identifier: Apache-2.0
"""GET /files/search."""

import os
import re
import socket
import subprocess

import pytest

from lib import tokens
from lib.expect import expect_error, expect_json
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def search(agent, pattern, path, **params):
    params = {"pattern": pattern, "path": str(path), **params}
    document = expect_json(agent.http.get("/files/search", params=params))
    assert document["count"] == len(document["matches"])
    return document


def places(document, space):
    return [(os.path.relpath(match["path"], space), match["line"]) for match in document["matches"]]


@pytest.fixture
def sources(space):
    (space / "src" / "deep").mkdir(parents=True)
    (space / "src" / "main.py").write_text("import os\n\ndef main():\n    return os.name\n")
    (space / "src" / "deep" / "util.py").write_text("def util(): pass\r\nDEF = 1\nlast def")
    (space / "notes.txt").write_text("def is a word\n")
    (space / "image").write_bytes(b"def\0def\n")
    (space / "link").symlink_to("notes.txt")
    return space


@pytest.mark.smoke
def test_a_regular_expression(agent, sources):
    document = search(agent, r"^def (\w+)\(", sources)
    assert places(document, sources) == [("src/deep/util.py", 1), ("src/main.py", 3)]
    first = document["matches"][0]
    assert (first["text"], first["column"], first["length"]) == ("def util(): pass", 1, 9)
    assert (document["truncated"], document["files_binary"], document["files_searched"]) == (False, 1, 3)
    assert document["files_matched"] == 2


@pytest.mark.parametrize(
    "params, expected",
    [
        ({"pattern": "def"}, ["notes.txt:1", "src/deep/util.py:1", "src/deep/util.py:3", "src/main.py:3"]),
        ({"pattern": "def", "glob": "*.py"}, ["src/deep/util.py:1", "src/deep/util.py:3", "src/main.py:3"]),
        ({"pattern": "def", "glob": "src/*.py"}, ["src/main.py:3"]),
        ({"pattern": "def", "exclude": "deep"}, ["notes.txt:1", "src/main.py:3"]),
        ({"pattern": "def", "glob": "*.py", "ignore_case": "true"},
         ["src/deep/util.py:1", "src/deep/util.py:2", "src/deep/util.py:3", "src/main.py:3"]),
        ({"pattern": "main()", "regex": "false"}, ["src/main.py:3"]),
        ({"pattern": "MAIN()", "regex": "false", "ignore_case": "true"}, ["src/main.py:3"]),
        ({"pattern": "def$"}, ["src/deep/util.py:3"]),
        ({"pattern": r"os\s+def"}, []),
        ({"pattern": "os\n", "regex": "false"}, []),
        ({"pattern": r"name\s*"}, ["src/main.py:4"]),
        ({"pattern": "nowhere"}, []),
    ],
)  # fmt: skip
def test_where(agent, sources, params, expected):
    document = search(agent, path=sources, **params)
    assert [f"{path}:{line}" for path, line in places(document, sources)] == expected


def test_one_file(agent, sources):
    document = search(agent, "o", sources / "notes.txt")
    assert [match["path"] for match in document["matches"]] == [str(sources / "notes.txt")]


def test_context(agent, space):
    (space / "lines").write_text("".join(f"{number}\n" for number in range(1, 8)))
    (match,) = search(agent, "^4$", space, context=2)["matches"]
    assert (match["before"], match["after"]) == (["2", "3"], ["5", "6"])
    (match,) = search(agent, "^1$", space, before=3, after=1)["matches"]
    assert (match["before"], match["after"]) == ([], ["2"])
    (match,) = search(agent, "^7$", space, context=1)["matches"]
    assert (match["before"], match["after"]) == (["6"], [])
    assert "before" not in search(agent, "^7$", space)["matches"][0]


def test_limits(agent, space):
    (space / "many").write_text("x\n" * 2000)
    document = search(agent, "x", space, limit=5)
    assert (document["count"], document["truncated"], document["truncated_reason"]) == (5, True, "limit")
    assert search(agent, "x", space)["count"] == 1000
    document = search(agent, "x", space, limit=2000)
    assert (document["truncated"], document["truncated_reason"]) == (False, None)
    (space / "many").write_text("x" * 1_000_000)
    (match,) = search(agent, "x", space)["matches"]
    assert len(match["text"]) == 1024
    (space / "many").write_text(("é" * 1000 + "\n") * 10_000)
    document = search(agent, "é", space, limit=10_000, context=2)
    assert (document["truncated"], document["truncated_reason"]) == (True, "size")
    assert 100 < document["count"] < 10_000


def test_what_is_no_utf8(agent, space):
    (space / "latin").write_bytes(b"caf\xe9 au lait\n")
    (match,) = search(agent, "au", space)["matches"]
    assert match["text"] == "caf\ufffd au lait" and match["column"] == 6


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", r"\C", "(?P<n>a)(?P<n>b)", "*"])
def test_patterns_that_are_none(agent, space, pattern):
    params = {"pattern": pattern, "path": str(space)}
    expect_error(agent.http.get("/files/search", params=params), 400, "INVALID_REQUEST", "/pattern")


def test_what_goes_wrong(agent, space):
    def get(**params):
        return agent.http.get("/files/search", params=params)

    expect_error(get(path=str(space)), 400, "MISSING_PARAMETER", "/pattern")
    expect_error(get(path=str(space), pattern=""), 400, "INVALID_REQUEST", "/pattern")
    expect_error(get(path=str(space), pattern="x" * 5000), 400, "INVALID_REQUEST", "/pattern")
    expect_error(get(path=str(space), pattern="x", glob="["), 400, "INVALID_REQUEST", "/glob")
    expect_error(get(path=str(space), pattern="x", limit=0), 400, "INVALID_REQUEST", "/limit")
    expect_error(get(path=str(space / "none"), pattern="x"), 404, "FILE_NOT_FOUND")
    expect_error(get(path="/etc", pattern="root"), 403, "PATH_NOT_ALLOWED")


def test_an_expensive_expression_ends(agent, space):
    (space / "trap").write_text("a" * 5000 + "\n")
    (space / "zebra").write_text("ab\n")
    document = search(agent, "(a+)+[bc]", space)
    assert document["files_too_expensive"] == 1 and places(document, space) == [("zebra", 1)]


def test_nothing_leads_out(agent, space):
    (space / "out").symlink_to("/etc")
    (space / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(space / "fifo")
    assert search(agent, "root", space)["matches"] == []


def test_a_client_that_leaves(agent, space):
    """Searches whose client is gone end, and make room for others."""
    (space / "slow").mkdir()
    for number in range(60):
        (space / "slow" / str(number)).write_text(("a" * 2000 + "\n") * 50)
    request = (
        f"GET /files/search?pattern=(a%2B)%2B[bc]&path={space} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {tokens.token()}\r\n\r\n"
    )
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", agent.port)) as client:
            client.sendall(request.encode())
            wait_until(lambda: agent.gauges()["requests_live"] >= 2, "the search to begin")
    wait_until(lambda: agent.gauges()["requests_live"] <= 1, "the searches to end")
    (space / "found").write_text("needle")
    assert search(agent, "needle", space / "found")["count"] == 1


def test_the_same_as_grep(agent):
    """On the system's own headers."""
    headers = "/usr/include/linux"
    if not os.path.isdir(headers):
        pytest.skip("no headers")
    target = agent.workspace / "headers"
    subprocess.run(["cp", "-r", headers, target], check=True)
    document = search(agent, r"#\s*define\s+E[A-Z]+\b", target, limit=10_000)
    output = subprocess.run(
        ["grep", "-rnP", r"#\s*define\s+E[A-Z]+\b", "."], cwd=target, capture_output=True, check=True
    ).stdout.decode(errors="replace")
    lines = [re.match(r"\./([^:]+):(\d+):", line) for line in output.splitlines()]
    expected = sorted((match[1], int(match[2])) for match in lines if match)
    assert document["truncated"] is False and sorted(places(document, target)) == expected


@pytest.mark.parametrize(
    "pattern, expected",
    [
        (r"\)(?!\s*\{)", [1]),
        (r"foo(?!\s*b)", [3, 9]),
        (r"(?<!\s)foo", [3, 8]),
        (r"\Afoo", [3, 8]),
        (r"foo\z", [3, 9]),
        (r"a\s*+$", [5]),
        (r"(?>a\s*)$", [5]),
        (r"(?-m)o$", [3, 9]),
        (r"(?s)foo.bar", [8]),
        (r"b\r$", [7]),
        (r"b$", []),
        ("", None),
    ],
)
def test_each_line_is_searched_alone(agent, space, pattern, expected):
    (space / "file").write_bytes(b"if (x)\n{\nfoo\nbar\n a\n\nb\r\nfoo bar\nend foo")
    if expected is None:
        return
    assert [match["line"] for match in search(agent, pattern, space)["matches"]] == expected


def test_long_lines_and_their_ends(agent, space):
    (space / "long").write_text("x" * 3_000_000 + "needle" + "y" * 3_000_000 + "\nshort needle\r\n")
    first, second = search(agent, "needle", space, context=1)["matches"]
    assert (first["line"], first["column"], first["length"]) == (1, 3_000_001, 6)
    assert (first["text_truncated"], first["text_column"]) == (True, 3_000_001 - 256)
    assert first["text"] == "x" * 256 + "needle" + "y" * (1024 - 256 - 6)
    assert first["after"] == ["short needle"]
    assert (second["line"], second["text"], len(second["before"][0])) == (2, "short needle", 1024)
    assert "text_truncated" not in second and "text_column" not in second


@pytest.mark.parametrize(
    "before, after, ending",
    [(0, 2000, ""), (1018, 2000, "\r"), (1019, 2000, "\r"), (2000, 0, "\r"), (2000, 10, ""), (1018, 0, "\r"), (1019, 0, "")],
)
@pytest.mark.parametrize("letter", ["x", "é", "🐍"])
def test_what_is_shown_of_a_long_line(agent, space, letter, before, after, ending):
    """A part that has the match in it and is whole characters; the column says which part."""
    before, after = letter * (before // len(letter.encode())), letter * (after // len(letter.encode()))
    line = (before + "needle" + after).encode()
    (space / "long").write_bytes(line + ending.encode() + b"\n")
    (match,) = search(agent, "needle", space)["matches"]
    assert match["column"] == len(before.encode()) + 1
    assert match.get("text_truncated", False) is (len(line) > 1024)
    start, text = match.get("text_column", 1) - 1, match["text"].encode()
    assert b"needle" in text and line[start : start + len(text)] == text
    assert min(len(line), 1024 - 6) <= len(text) <= 1024
    assert start == 0 or before


def test_a_match_that_is_longer_than_what_is_shown(agent, space):
    (space / "long").write_text("x" * 5000 + "y" * 5000 + "\n")
    (match,) = search(agent, "y+", space)["matches"]
    assert (match["column"], match["length"], match["text_column"]) == (5001, 5000, 5001 - 256)
    assert match["text"] == "x" * 256 + "y" * 768


def test_paths_that_are_no_utf8(agent, space):
    """Can be used for the next request."""
    with open(os.fsencode(space) + b"/caf\xe9", "w") as file:
        file.write("au lait\n")
    (space / "plain").write_text("lait\n")
    first, second = search(agent, "lait", space)["matches"]
    assert first["path_encoded"] == f"{space}/caf%E9" and first["path"] == f"{space}/caf\ufffd"
    assert "path_encoded" not in second
    assert expect_json(agent.http.get(f"/files/read?path={first['path_encoded']}"))["content"] == "au lait\n"


def test_an_invalid_expression_is_explained(agent, space):
    params = {"pattern": "ab(c", "path": str(space)}
    answer = expect_error(agent.http.get("/files/search", params=params), 400, "INVALID_REQUEST", "/pattern")
    assert "parenthesis" in answer["message"] and "at character 5" in answer["message"]


@pytest.mark.parametrize(
    "params, field",
    [
        ({"limit": "x"}, "/limit"),
        ({"limit": 10**30}, "/limit"),
        ({"limit": -1}, "/limit"),
        ({"context": 101}, "/context"),
        ({"before": "-1"}, "/before"),
        ({"after": "1.5"}, "/after"),
        ({"regex": "maybe"}, "/regex"),
        ({"ignore_case": "2"}, "/ignore_case"),
        ({"path": "a\0b"}, "/path"),
        ({"exclude": "["}, "/exclude"),
    ],
)
def test_parameters_that_are_none(agent, space, params, field):
    response = agent.http.get("/files/search", params={"pattern": "x", "path": str(space), **params})
    expect_error(response, 400, "INVALID_REQUEST", field)
