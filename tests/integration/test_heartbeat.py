# SPDX-License-Identifier: Apache-2.0
"""A quiet execution keeps proxies patient: after a while the header goes out, then white space, then the JSON."""

import json
import time
import uuid

import pytest

from lib import procfs, raw
from lib.expect import expect_error, expect_result
from lib.waiting import time_factor, wait_until


@pytest.fixture
def agent(new_agent):
    return new_agent(heartbeat="200ms")


def send(agent, connection, document, path="/commands/run"):
    connection.send(raw.post(path, document, agent.http.headers))


@pytest.mark.smoke
def test_header_and_spaces_come_before_the_document(agent):
    gate = agent.workspace / "gate"
    with raw.RawConnection(agent.port) as connection:
        send(agent, connection, {"command": "while [ ! -e gate ]; do sleep 0.01; done; echo done"})
        head = connection.read_head()
        assert head.status_code == 200
        assert head.headers["Content-Type"].startswith("application/json")
        assert head.headers["X-Request-ID"]
        assert head.headers["Transfer-Encoding"] == "chunked"
        spaces = [connection.read_chunk() for _ in range(3)]
        assert all(chunk and not chunk.strip() for chunk in spaces)
        gate.touch()
        head.content = b"".join(spaces) + b"".join(iter(connection.read_chunk, b""))
        assert expect_result(head)["stdout"] == "done\n"
        # The connection is as good as new.
        connection.send(raw.head("GET", "/ping"))
        assert connection.read_response().status_code == 200


def test_quick_answers_have_a_length_and_no_spaces(agent):
    response = agent.run("echo quick")
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.content.startswith(b"{")


def test_ordinary_clients_do_not_notice(agent):
    result = expect_result(agent.execute("import time; time.sleep(1); print('x' * 100000)"))
    assert result["stdout"] == "x" * 100000 + "\n"


def test_every_end_fits_behind_a_heartbeat(agent):
    expect_result(agent.run("sleep 0.6; exit 3"), 3)
    expect_result(agent.run("sleep 0.6; kill -KILL $$"), 137, "signal")
    result = expect_result(agent.run("echo before; sleep 1000", timeout=0.6), 124, "timeout")
    assert result["stdout"] == "before\n"


def test_large_and_invalid_output_behind_a_heartbeat(agent):
    code = "import os, time\ntime.sleep(0.6)\nfor n in range(64):\n    os.write(1, b'\\xff\\0z' * 10000)"
    result = expect_result(agent.execute(code))
    assert result["stdout"] == "\ufffd\0z" * 640000


def test_a_hang_up_between_heartbeats_ends_the_execution(agent):
    mark = uuid.uuid4().hex
    connection = raw.RawConnection(agent.port)
    send(agent, connection, {"command": "sleep 1000", "env": {"HEARTBEAT_MARK": mark}})
    connection.read_head()
    connection.read_chunk()
    connection.close()
    wait_until(lambda: not procfs.with_environment("HEARTBEAT_MARK", mark), "end of the program")
    agent.wait_until_idle()


def test_a_client_that_reads_nothing_is_no_burden(agent):
    mark = uuid.uuid4().hex
    connection = raw.RawConnection(agent.port, receive_buffer=2048)
    send(agent, connection, {"command": "sleep 2", "env": {"HEARTBEAT_MARK": mark}})
    wait_until(lambda: procfs.with_environment("HEARTBEAT_MARK", mark), "start of the program")
    start = time.monotonic()
    assert agent.anonymous.get("/health").status_code == 200
    assert time.monotonic() - start < 1 * time_factor()
    agent.wait_until_idle(timeout=10)
    connection.close()


def test_the_deadline_counts_from_the_start(agent):
    start = time.monotonic()
    with raw.RawConnection(agent.port) as connection:
        send(agent, connection, {"command": "sleep 1000", "timeout": 1})
        response = connection.read_response()
    assert 1 <= time.monotonic() - start < 1 + 1 * time_factor()
    assert json.loads(response.content)["reason"] == "timeout"


def test_refusals_are_not_delayed(agent):
    expect_error(agent.run("true", workdir="/no/such/dir"), 400, "WORKDIR_NOT_FOUND", "/workdir")


def test_http_1_0_clients_get_the_plain_document(agent):
    """HTTP/1.0 knows no chunks: the document ends with the connection, or comes with a length."""
    body = b'{"command": "sleep 0.6; echo old"}'
    fields = {"Content-Length": len(body), "Authorization": agent.http.headers["authorization"]}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/commands/run", fields, "HTTP/1.0") + body)
        response = connection.read_response()
    assert "Transfer-Encoding" not in response.headers
    assert json.loads(response.content)["stdout"] == "old\n"
