# SPDX-License-Identifier: Apache-2.0
"""Where a request ends: refusals while a body is under way, and messages that could be read in two ways."""

import pytest

from lib import raw
from lib.expect import expect_error, expect_json, expect_result

BODY = b'{"command": "true"}'
# fmt: off
AMBIGUOUS = [
    ("two lengths", [("Content-Length", len(BODY)), ("Content-Length", 3)]),
    ("the same length twice", [("Content-Length", len(BODY)), ("Content-Length", len(BODY))]),
    ("length and encoding", [("Content-Length", len(BODY)), ("Transfer-Encoding", "chunked")]),
    ("two encodings", [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")]),
    ("an unknown encoding", [("Transfer-Encoding", "gzip")]),
    ("a blank behind the length's name", [("Content-Length ", len(BODY))]),
    ("a blank behind the encoding's name", [("Transfer-Encoding ", "chunked"), ("Content-Length", len(BODY))]),
]
# fmt: on


def head_with(agent, fields, path="/commands/run"):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: {agent.http.headers['Authorization']}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("fields", [f for _, f in AMBIGUOUS], ids=[name for name, _ in AMBIGUOUS])
def test_ambiguous_framing_is_refused_and_ends_the_connection(agent, fields):
    before = expect_json(agent.http.get("/metrics/snapshot"))["total_executions"]
    with raw.RawConnection(agent.port) as connection:
        connection.send(head_with(agent, fields) + BODY)
        expect_error(connection.read_response(), 400, "INVALID_REQUEST")
        assert connection.is_closed_by_peer()
    assert expect_json(agent.http.get("/metrics/snapshot"))["total_executions"] == before


def test_a_plain_body_and_a_chunked_one(agent):
    with raw.RawConnection(agent.port) as connection:
        connection.send(head_with(agent, [("Content-Length", len(BODY))]) + BODY)
        expect_result(connection.read_response())
        connection.send(head_with(agent, [("Transfer-Encoding", "chunked")]) + b"13\r\n" + BODY + b"\r\n0\r\n\r\n")
        expect_result(connection.read_response())


def test_a_refused_chunked_body_of_any_size_gets_its_answer(agent):
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/execute", {"Transfer-Encoding": "chunked"}))
        connection.try_send(chunk * 10)
        expect_error(connection.read_response(), 401, "AUTHENTICATION_REQUIRED")


def test_a_chunked_body_that_grows_too_large_is_answered_at_once(new_agent):
    agent = new_agent(max_body="256K")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with raw.RawConnection(agent.port) as connection:
        connection.send(head_with(agent, [("Transfer-Encoding", "chunked")]) + chunk * 5)
        expect_error(connection.read_response(), 413, "PAYLOAD_TOO_LARGE")


def test_absolute_form(agent):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", "http://sandbox.test:7777/health"))
        assert expect_json(connection.read_response())["status"] == "healthy"
        connection.send(raw.head("GET", "http://sandbox.test"))
        assert expect_json(connection.read_response())["status"] == "running"


def test_a_body_of_too_many_values(agent):
    body = b'{"command": "true", "x": [' + b"0," * 100_000 + b"0]}"
    expect_error(agent.http.post("/commands/run", content=body), 400, "INVALID_JSON")
