# SPDX-License-Identifier: Apache-2.0
"""How connections end when something else is going on: input that waits, ends that cross, the agent's own end."""

import signal
import time
from urllib.parse import quote

import pytest

from lib.raw import ConnectionEnded, RawConnection
from lib.waiting import time_factor, wait_until
from lib.ws_raw import (  # noqa: F401 (plain_home is for all tests here)
    BINARY,
    TEXT,
    RawWebSocket,
    Terminal,
    agent_token,
    handshake,
    plain_home,
)

CHATTY = "echo ready; while sleep 0.02; do echo x; done"


def stop(agent, timeout=4.0):
    agent.signal(signal.SIGTERM)
    agent.wait_for_exit(timeout)
    agent.check_remains()


@pytest.mark.parametrize("kind", ["terminal", "stream"])
def test_a_reset_while_input_waits(new_agent, kind):
    agent = new_agent(shutdown_grace="1s")
    if kind == "terminal":
        ws = RawWebSocket(agent, "/terminal?command=" + quote("stty -icanon -echo raw; " + CHATTY))
        ws.read_type("output")
        ws.send_frame(BINARY, b"x" * 20000)
    else:
        ws = RawWebSocket(agent, "/commands/stream")
        ws.send(type="run", command=CHATTY)
        ws.read_type("stdout")
        ws.send(type="input", data="x" * 100000)
    for _ in range(5):
        ws.read_other_than_pings()
    ws.connection.reset()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "the connection's end", timeout=10)
    wait_until(lambda: agent.gauges()["processes_running"] == 0, "the program's end", timeout=10)
    stop(agent)


def test_the_end_does_not_wait_for_input_that_waits(agent):
    ws = RawWebSocket(agent, "/terminal?command=" + quote("stty -icanon -echo raw; echo ready; sleep 1"))
    ws.read_type("output")
    ws.send_frame(BINARY, b"x" * 300000)
    ws.read_type("exit")
    began = time.monotonic()
    ws.read_close()
    assert time.monotonic() - began < 3 * time_factor()
    ws.connection.close()


def test_a_polite_client_has_taken_the_end(agent):
    ws = RawWebSocket(agent, "/terminal?session=polite&shell=sh")
    first = ws.read_type("attached")
    ws.type("exit\n")
    ws.answers_pings = False
    while True:
        frame = ws.read_other_than_pings()
        if frame.opcode == TEXT and b'"exit"' in frame.payload:
            break
    ws.send_close()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "the connection's end")
    ws.connection.close()
    with RawWebSocket(agent, "/terminal?session=polite&shell=sh") as again:
        message = again.read_type("attached")
        assert message["created"] is True and message["id"] != first["id"]
    agent.http.delete("/terminals/polite")


def test_an_old_protocol_cannot_be_upgraded(agent):
    request = handshake("/terminal?command=true", token=agent_token(agent)).replace(b"HTTP/1.1", b"HTTP/1.0")
    with RawConnection(agent.port) as connection:
        connection.send(request)
        response = connection.read_response()
        assert response.status_code == 426
        assert response.json()["code"] == "UPGRADE_REQUIRED"


def test_a_detached_shell_may_tidy_up_when_the_agent_stops(new_agent):
    agent = new_agent(shutdown_grace="5s")
    program = "trap 'sleep 0.3; echo saved > saved; exit' HUP; echo ready; while :; do sleep 0.05; done"
    with Terminal(agent, "/terminal?session=tidy&shell=bash&command=" + quote(program)) as ws:
        ws.read_until(b"ready")
        ws.cut()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "nobody attached")
    stop(agent)
    assert (agent.workspace / "saved").exists()


def test_half_a_request_does_not_hold_up_the_end(new_agent):
    agent = new_agent(shutdown_grace="20s")
    connections = [RawConnection(agent.port) for _ in range(3)]
    for connection in connections:
        connection.send(b"GET /health HTTP/1.1\r\nHost: x\r\n")
    wait_until(lambda: agent.gauges()["requests_live"] >= 4, "half requests")
    stop(agent)
    for connection in connections:
        with pytest.raises((ConnectionEnded, OSError)):
            connection.read_response()
        connection.close()


def test_a_terminal_is_told_that_the_agent_stops(new_agent):
    agent = new_agent()
    with Terminal(agent, "/terminal?command=" + quote("echo ready; sleep 1000")) as ws:
        ws.read_until(b"ready")
        agent.signal(signal.SIGTERM)
        assert ws.read_exit()["reason"] == "cancelled"
        assert ws.read_close()[0] == 1001
    agent.wait_for_exit(4)
    agent.check_remains()
