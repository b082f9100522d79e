# SPDX-License-Identifier: Apache-2.0
"""Malformed anything gets the right 4xx and names the culprit; the agent serves on."""

import pytest

from lib import raw
from lib.expect import expect_error, expect_json

MIB = 1024 * 1024

# name, path, body, status, code, field
# fmt: off
BODIES = [
    ("truncated object", "/execute", b'{"code": "1"', 400, "INVALID_JSON", None),
    ("truncated text", "/execute", b'{"code": "1', 400, "INVALID_JSON", None),
    ("no JSON at all", "/execute", b"code=1", 400, "INVALID_JSON", None),
    ("single quotes", "/execute", b"{'code': '1'}", 400, "INVALID_JSON", None),
    ("trailing rubbish", "/execute", b'{"code": "1"} x', 400, "INVALID_JSON", None),
    ("two documents", "/execute", b'{"code": "1"}{"code": "2"}', 400, "INVALID_JSON", None),
    ("trailing comma", "/execute", b'{"code": "1",}', 400, "INVALID_JSON", None),
    ("comment", "/execute", b'{"code": "1" /* x */}', 400, "INVALID_JSON", None),
    ("duplicate keys", "/execute", b'{"code": "1", "code": "2"}', 400, "INVALID_JSON", None),
    ("invalid UTF-8", "/execute", b'{"code": "\xff\xfe"}', 400, "INVALID_JSON", None),
    ("overlong UTF-8", "/execute", b'{"code": "\xc0\x80"}', 400, "INVALID_JSON", None),
    ("lone surrogate", "/execute", b'{"code": "\\ud800"}', 400, "INVALID_JSON", None),
    ("raw control character", "/execute", b'{"code": "a\nb"}', 400, "INVALID_JSON", None),
    ("raw NUL", "/execute", b'{"code": "a\0b"}', 400, "INVALID_JSON", None),
    ("NUL behind the document", "/execute", b'{"code": "1"}\0', 400, "INVALID_JSON", None),
    ("NaN", "/execute", b'{"code": "1", "timeout": NaN}', 400, "INVALID_JSON", None),
    ("number out of any range", "/execute", b'{"code": "1", "timeout": 1e999}', 400, "INVALID_JSON", None),
    ("nested too deep", "/execute", b'{"code": ' + b"[" * 100000 + b"]" * 100000 + b"}", 400, "INVALID_JSON", None),
    ("nested too deep, unclosed", "/execute", b"[" * 200000, 400, "INVALID_JSON", None),
    ("array", "/execute", b'["code"]', 400, "INVALID_JSON", None),
    ("text", "/execute", b'"code"', 400, "INVALID_JSON", None),
    ("null", "/execute", b"null", 400, "INVALID_JSON", None),
    ("number", "/execute", b"1", 400, "INVALID_JSON", None),
    ("UTF-16", "/execute", '{"code": "1"}'.encode("utf-16"), 400, "INVALID_JSON", None),

    ("empty body", "/execute", b"", 400, "MISSING_PARAMETER", "/code"),
    ("white body", "/execute", b" \r\n\t ", 400, "MISSING_PARAMETER", "/code"),
    ("no code", "/execute", b'{"language": "python"}', 400, "MISSING_PARAMETER", "/code"),
    ("code is null", "/execute", b'{"code": null}', 400, "MISSING_PARAMETER", "/code"),
    ("no command", "/commands/run", b'{"args": ["x"]}', 400, "MISSING_PARAMETER", "/command"),

    ("code is a number", "/execute", b'{"code": 1}', 400, "INVALID_REQUEST", "/code"),
    ("code is a list", "/execute", b'{"code": ["1"]}', 400, "INVALID_REQUEST", "/code"),
    ("code is an object", "/execute", b'{"code": {}}', 400, "INVALID_REQUEST", "/code"),
    ("code is true", "/execute", b'{"code": true}', 400, "INVALID_REQUEST", "/code"),
    ("unknown language", "/execute", b'{"code": "1", "language": "cobol"}', 400, "INVALID_REQUEST", "/language"),
    ("empty language", "/execute", b'{"code": "1", "language": ""}', 400, "INVALID_REQUEST", "/language"),
    ("language is a number", "/execute", b'{"code": "1", "language": 3}', 400, "INVALID_REQUEST", "/language"),
    ("language with NUL", "/execute", b'{"code": "1", "language": "python\\u0000"}', 400, "INVALID_REQUEST", "/language"),
    ("timeout is text", "/execute", b'{"code": "1", "timeout": "soon"}', 400, "INVALID_REQUEST", "/timeout"),
    ("timeout is negative", "/execute", b'{"code": "1", "timeout": -1}', 400, "INVALID_REQUEST", "/timeout"),
    ("timeout is zero", "/execute", b'{"code": "1", "timeout": 0}', 400, "INVALID_REQUEST", "/timeout"),
    ("timeout is a list", "/execute", b'{"code": "1", "timeout": []}', 400, "INVALID_REQUEST", "/timeout"),
    ("timeout is true", "/execute", b'{"code": "1", "timeout": true}', 400, "INVALID_REQUEST", "/timeout"),
    ("env is a list", "/execute", b'{"code": "1", "env": ["A=1"]}', 400, "INVALID_REQUEST", "/env"),
    ("env is text", "/execute", b'{"code": "1", "env": "A=1"}', 400, "INVALID_REQUEST", "/env"),
    ("env value is an object", "/execute", b'{"code": "1", "env": {"A": {}}}', 400, "INVALID_REQUEST", "/env/A"),
    ("env value is null", "/execute", b'{"code": "1", "env": {"A": null}}', 400, "INVALID_REQUEST", "/env/A"),
    ("env value with NUL", "/execute", b'{"code": "1", "env": {"A": "x\\u0000y"}}', 400, "INVALID_REQUEST", "/env/A"),
    ("env name with =", "/execute", b'{"code": "1", "env": {"A=B": "1"}}', 400, "INVALID_REQUEST", "/env/A=B"),
    ("env name is empty", "/execute", b'{"code": "1", "env": {"": "1"}}', 400, "INVALID_REQUEST", "/env/"),
    ("env name is escaped", "/execute", b'{"code": "1", "env": {"a/b~c=": "1"}}', 400, "INVALID_REQUEST", "/env/a~1b~0c="),
    ("env with too many entries", "/execute", b'{"code": "1", "env": {' + b",".join(b'"V%d":"1"' % n for n in range(1100)) + b"}}", 400, "INVALID_REQUEST", "/env"),
    ("env value too long", "/execute", b'{"code": "1", "env": {"A": "' + b"x" * 140000 + b'"}}', 400, "INVALID_REQUEST", "/env/A"),
    ("workdir is a number", "/execute", b'{"code": "1", "workdir": 5}', 400, "INVALID_REQUEST", "/workdir"),
    ("working_dir is a number", "/execute", b'{"code": "1", "working_dir": 5}', 400, "INVALID_REQUEST", "/working_dir"),
    ("workdir with NUL", "/execute", b'{"code": "1", "workdir": "/tmp\\u0000/x"}', 400, "INVALID_REQUEST", "/workdir"),
    ("stdin is a number", "/execute", b'{"code": "1", "stdin": 5}', 400, "INVALID_REQUEST", "/stdin"),
    ("stdin is no base64", "/execute", b'{"code": "1", "stdin": "!", "stdin_encoding": "base64"}', 400, "INVALID_REQUEST", "/stdin"),
    ("unknown encoding", "/execute", b'{"code": "1", "encoding": "hex"}', 400, "INVALID_REQUEST", "/encoding"),
    ("command is a list", "/commands/run", b'{"command": ["ls"]}', 400, "INVALID_REQUEST", "/command"),
    ("command is empty", "/commands/run", b'{"command": ""}', 400, "INVALID_REQUEST", "/command"),
    ("command with NUL", "/commands/run", b'{"command": "ls\\u0000 -l"}', 400, "INVALID_REQUEST", "/command"),
    ("args is text", "/commands/run", b'{"command": "ls", "args": "-l"}', 400, "INVALID_REQUEST", "/args"),
    ("args is an object", "/commands/run", b'{"command": "ls", "args": {}}', 400, "INVALID_REQUEST", "/args"),
    ("arg is a list", "/commands/run", b'{"command": "ls", "args": ["-l", []]}', 400, "INVALID_REQUEST", "/args/1"),
    ("arg is null", "/commands/run", b'{"command": "ls", "args": [null]}', 400, "INVALID_REQUEST", "/args/0"),
    ("arg with NUL", "/commands/run", b'{"command": "ls", "args": ["\\u0000"]}', 400, "INVALID_REQUEST", "/args/0"),
    ("too many args", "/commands/run", b'{"command": "ls", "args": [' + b",".join([b'"x"'] * 5000) + b"]}", 400, "INVALID_REQUEST", "/args"),
    ("arg too long", "/commands/run", b'{"command": "ls", "args": ["' + b"x" * 140000 + b'"]}', 400, "INVALID_REQUEST", "/args/0"),
]
# fmt: on


@pytest.mark.parametrize("name, path, body, status, code, field", [pytest.param(*b, id=b[0]) for b in BODIES])
def test_bodies(agent, name, path, body, status, code, field):
    document = expect_error(agent.http.post(path, content=body), status, code, field)
    if field and field.count("/") == 1:
        assert field.strip("/") in document["message"]
    expect_json(agent.anonymous.get("/health"))


def test_unknown_fields_and_nulls_are_ignored(agent):
    document = {"command": "echo x", "merge": True, "name": None, "env": None, "workdir": None, "timeout": None}
    assert expect_json(agent.http.post("/commands/run", json=document))["stdout"] == "x\n"


def test_scalars_in_environment_and_arguments_become_text(agent):
    document = {"command": "sh", "args": ["-c", "echo $A $B $0 $1", 1, True], "env": {"A": 5, "B": False}}
    assert expect_json(agent.http.post("/commands/run", json=document))["stdout"] == "5 false 1 true\n"


def test_an_empty_body_is_fine_where_nothing_is_required(agent):
    response = agent.http.get("/metrics/snapshot", headers={"Content-Type": "application/json"})
    expect_json(response)


def test_too_large_bodies(new_agent):
    agent = new_agent(max_body="64K")
    fits = b'{"command": "echo x", "padding": "' + b"p" * 60000 + b'"}'
    expect_json(agent.http.post("/commands/run", content=fits))
    large = b'{"command": "echo x", "padding": "' + b"p" * 70000 + b'"}'
    expect_error(agent.http.post("/commands/run", content=large), 413, "PAYLOAD_TOO_LARGE")
    chunks = (large[n : n + 1000] for n in range(0, len(large), 1000))
    expect_error(agent.http.post("/commands/run", content=chunks), 413, "PAYLOAD_TOO_LARGE")


def authorization(agent):
    return {"Authorization": agent.http.headers["authorization"]}


def test_a_gigabyte_is_refused_before_it_is_read(agent):
    fields = {"Content-Length": 1 << 30, **authorization(agent)}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/execute", fields))
        expect_error(connection.read_response(), 413, "PAYLOAD_TOO_LARGE")


def test_a_gigabyte_is_not_invited_by_100_continue(agent):
    fields = {"Content-Length": 1 << 30, "Expect": "100-continue", **authorization(agent)}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/execute", fields))
        response = connection.read_response()
        assert not response.interim
        expect_error(response, 413, "PAYLOAD_TOO_LARGE")


def test_a_gigabyte_without_a_token_is_a_401(agent):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/execute", {"Content-Length": 1 << 30}))
        expect_error(connection.read_response(), 401, "AUTHENTICATION_REQUIRED")


def test_an_endless_chunked_body_is_cut(agent):
    fields = {"Transfer-Encoding": "chunked", **authorization(agent)}
    chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/execute", fields))
        sent = 0
        while connection.try_send(chunk):
            sent += 1
            assert sent < 200, "nobody stops this body"


# name, bytes, statuses. These never reach the agent's own code: the HTTP library answers, and closes.
# An empty set: the connection is closed without an answer.
LIBRARY = [
    ("no request at all", b"\r\n\r\nHELLO\r\n\r\n", {400}),
    ("no version", b"GET /health\r\n\r\n", {400, 505}),
    ("version from the future", b"GET /health HTTP/3.7\r\nHost: x\r\n\r\n", {400, 505}),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    ("TLS handshake", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 200 + b"\r\n\r\n", {400}),
    ("header without a colon", b"GET /health HTTP/1.1\r\nHost: x\r\nrubbish\r\n\r\n", {400}),
    ("content length is text", b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", {400}),
    ("content length is negative", b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
    ("content length overflows", b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", {400, 413}),
    ("chunk size is text", b"POST /execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", {400, 401}),
    ("no host", b"GET /health HTTP/1.1\r\n\r\n", {200, 400}),
]  # fmt: skip


@pytest.mark.parametrize("name, data, statuses", [pytest.param(*row, id=row[0]) for row in LIBRARY])
def test_what_is_no_http(agent, name, data, statuses):
    with raw.RawConnection(agent.port, timeout=5) as connection:
        connection.try_send(data)
        try:
            connection.half_close()
            status = connection.read_head().status_code
        except (raw.ConnectionEnded, OSError):
            status = None
    assert status is None or status in statuses
    expect_json(agent.anonymous.get("/health"))


def test_two_lengths_for_one_body_are_refused(agent):
    fields = {"Content-Length": 4, "Transfer-Encoding": "chunked", **authorization(agent)}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/commands/run", fields) + b"0\r\n\r\n")
        assert connection.read_response().status_code == 400


@pytest.mark.parametrize("size", [100 * 1024, 4 * MIB])
def test_huge_headers(agent, size):
    with raw.RawConnection(agent.port) as connection:
        connection.try_send(raw.head("GET", "/health", {"X-Filler": "x" * size}))
        response = connection.read_response()
        assert response.status_code == 431
        if size < 200 * 1024:
            expect_error(response, 431, "HEADERS_TOO_LARGE")


def test_many_headers(agent):
    fields = {f"X-Filler-{n}": "x" * 40 for n in range(3000)}
    with raw.RawConnection(agent.port) as connection:
        connection.try_send(raw.head("GET", "/health", fields))
        assert connection.read_response().status_code == 431


@pytest.mark.parametrize("path", ["/health?" + "x" * 20000, "/" + "x" * 20000])
def test_a_long_request_target(agent, path):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", path))
        expect_error(connection.read_response(), 414, "URI_TOO_LONG")


# name, request target, statuses
TARGETS = [
    ("NUL", "/health%00", {400, 404}),
    ("NUL in between", "/exec%00ute", {400, 404}),
    ("invalid escape", "/%zz", {400, 404}),
    ("cut escape", "/health%2", {400, 404}),
    ("invalid UTF-8", "/%ff%fe", {400, 404}),
    ("line break", "/health%0d%0aX-Evil:%201", {400, 404}),
    ("dot dot", "/../../etc/passwd", {400, 404}),
    ("two slashes", "//execute", {400, 404}),
    ("no slash", "health", {400, 404}),
    ("star", "*", {400, 404}),
    ("bad query", "/health?%zz=%00&&&==", {200, 400}),
    ("many query parameters", "/health?" + "&".join(f"a{n}=1" for n in range(500)), {400}),
]


@pytest.mark.parametrize("name, target, statuses", [pytest.param(*row, id=row[0]) for row in TARGETS])
def test_request_targets(agent, name, target, statuses):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", target))
        response = connection.read_response()
    assert response.status_code in statuses
    assert "X-Evil" not in response.headers
    if response.status_code != 200:
        document = response.json()
        assert document["error"] == document["message"] and document["code"]


def test_bodies_where_none_is_expected(agent):
    for size in (10, 100000):
        response = agent.http.request("GET", "/health", content=b"x" * size)
        assert response.status_code in (200, 413)


def test_the_log_stays_one_line_per_event(agent):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", "/a%0afake%20line%1b[31m", {"X-Request-ID": "log-forging"}))
        log = agent.log_with(connection.read_response())
    assert not any(line.startswith("fake line") for line in log.splitlines())
    assert "\x1b" not in log
