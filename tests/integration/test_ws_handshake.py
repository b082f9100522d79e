# SPDX-License-Identifier: Apache-2.0
"""From HTTP to WebSocket: who is let in, what the refusals look like, and that no byte is lost on the way."""

import hashlib
import json
import re
import time
from urllib.parse import quote

import pytest

from lib import tokens
from lib.expect import expect_error
from lib.raw import RawConnection, head
from lib.waiting import wait_until
from lib.ws_raw import (  # noqa: F401 (plain_home is for all tests here)
    BINARY,
    PING,
    RawWebSocket,
    Terminal,
    accept_of,
    frame_bytes,
    handshake,
    message_bytes,
    plain_home,
)

ORIGIN = "https://app.example.com"


def ask(agent, request, has_body=True):
    """The answer to a handshake that is to be refused."""
    with RawConnection(agent.port) as connection:
        connection.send(request)
        return read_refusal(connection, has_body)


def read_refusal(connection, has_body=True):
    response = connection.read_head()
    assert response.status_code != 101, "it was accepted"
    if has_body:
        response.content = connection.read_bytes(int(response.headers["Content-Length"]))
    return response


def bearer_protocol(token=None):
    """What browsers send instead of an Authorization header."""
    return {"Sec-WebSocket-Protocol": f"vm-agent, bearer.{token or tokens.token()}"}


def expect_echo(ws, word):
    """The terminal answers: the connection is what it should be."""
    ws.type(f"echo {word[:2]}''{word[2:]}\n")
    ws.read_until(word)


# Who is let in


@pytest.mark.parametrize(
    "token, code",
    [
        ("", "AUTHENTICATION_REQUIRED"),
        ("garbage", "INVALID_TOKEN"),
        (tokens.token(secret="another-secret-0123456789abcdefghij"), "INVALID_TOKEN"),
        (tokens.token(ttl=-60), "TOKEN_EXPIRED"),
    ],
    ids=["none", "garbage", "forged", "expired"],
)
def test_without_a_good_token(agent, token, code):
    response = ask(agent, handshake("/terminal", token=token))
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.json()["code"] == code
    wait_until(lambda: agent.gauges()["websockets"] == 0, "none but those of other tests, which end")


@pytest.mark.parametrize("name", ["token", "access_token", "authorization", "bearer"])
def test_no_token_in_the_query(agent, name):
    response = ask(agent, handshake(f"/terminal?{name}={tokens.token()}", token=""))
    assert response.status_code == 401
    assert tokens.token().split(".")[1] not in agent.log_with(response)


def test_a_token_as_subprotocol(agent):
    bearer = f"bearer.{tokens.token()}"
    for offered, chosen in (
        (bearer, bearer),
        (f"{bearer}, vm-agent", "vm-agent"),
        (f"vm-agent,{bearer}", "vm-agent"),
        (f"{bearer}, a ,b", "a"),
    ):
        with Terminal(agent, token="", headers={"Sec-WebSocket-Protocol": offered, "Authorization": None}) as ws:
            assert ws.response.headers["Sec-WebSocket-Protocol"] == chosen
            expect_echo(ws, "subprotocol")


def test_other_subprotocols(agent):
    with Terminal(agent) as ws:
        assert "Sec-WebSocket-Protocol" not in ws.response.headers
    with Terminal(agent, headers={"Sec-WebSocket-Protocol": "chat, superchat"}) as ws:
        assert ws.response.headers["Sec-WebSocket-Protocol"] == "chat"


@pytest.mark.parametrize("token", ["garbage", tokens.token(ttl=-60), ""], ids=["garbage", "expired", "empty"])
def test_a_bad_token_as_subprotocol(agent, token):
    headers = {"Sec-WebSocket-Protocol": f"bearer.{token}"}
    assert ask(agent, handshake("/terminal", headers, token="")).status_code == 401


def test_a_token_as_subprotocol_is_for_websockets_only(agent):
    headers = {"Sec-WebSocket-Protocol": f"bearer.{tokens.token()}"}
    assert agent.anonymous.get("/terminals", headers=headers).status_code == 401


# Browsers, which send the token as a subprotocol


def test_our_own_origin(agent):
    for origin in ("http://localhost", "https://localhost", "https://LOCALHOST"):  # as lib.raw's Host
        with Terminal(agent, token="", headers={"Origin": origin, **bearer_protocol()}) as ws:
            assert ws.response.headers["Sec-WebSocket-Protocol"] == "vm-agent"
            expect_echo(ws, "origin")


@pytest.mark.parametrize(
    "origin",
    [ORIGIN, "http://localhost.example.com", "http://localhost:1", "null", "localhost", "http://x@localhost", ""],
)
def test_foreign_origins(agent, origin):
    response = ask(agent, handshake("/terminal", {"Origin": origin, **bearer_protocol()}, token=""))
    expect_error(response, 403, "ORIGIN_NOT_ALLOWED")
    wait_until(lambda: agent.gauges()["websockets"] == 0, "none but those of other tests, which end")


def test_allowed_origins(new_agent):
    agent = new_agent(cors_origin=ORIGIN)
    with Terminal(agent, token="", headers={"Origin": ORIGIN, **bearer_protocol()}) as ws:
        expect_echo(ws, "origin")
    for origin in (ORIGIN + ".evil.com", "http://app.example.com", "https://app.example.com:8443"):
        request = handshake("/terminal", {"Origin": origin, **bearer_protocol()}, token="")
        expect_error(ask(agent, request), 403, "ORIGIN_NOT_ALLOWED")


def test_origins_of_clients_with_a_header(agent):
    """No page can set Authorization on a WebSocket: who does is no browser, whatever it says about its origin."""
    with Terminal(agent, headers={"Origin": ORIGIN}) as ws:
        expect_echo(ws, "origin")


# The handshake's headers


def test_not_an_upgrade(agent):
    upgrade, connection = {"Upgrade": "websocket"}, {"Connection": "Upgrade"}
    for headers in ({}, upgrade, connection, {**connection, "Upgrade": "h2c"}):
        response = ask(agent, head("GET", "/terminal", {**tokens.bearer(tokens.token()), **headers}))
        expect_error(response, 426, "UPGRADE_REQUIRED")
        assert response.headers["Upgrade"].lower() == "websocket"


@pytest.mark.parametrize("version", ["8", "12", "14", "", "x", None])
def test_versions(agent, version):
    response = ask(agent, handshake("/terminal", {"Sec-WebSocket-Version": version}))
    expect_error(response, 426, "UPGRADE_REQUIRED")
    assert response.headers["Sec-WebSocket-Version"] == "13"


@pytest.mark.parametrize(
    "key",
    [None, "", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "AAAA", "!" * 24, "A" * 24, "A" * 4000],
    ids=["none", "empty", "letter", "unpadded", "17 bytes", "3 bytes", "no base64", "18 bytes", "long"],
)
def test_keys(agent, key):
    expect_error(ask(agent, handshake("/terminal", {"Sec-WebSocket-Key": key})), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade"},
        {"Connection": "foo ,\tUPGRADE , bar", "Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"X-Forwarded-For": "1.2.3.4", "Cookie": "a=b", "Content-Length": "0"},
    ],
    ids=["list", "small", "spaces", "upgrades", "extension", "key", "others"],
)
def test_good_handshakes(agent, headers):
    with Terminal(agent, headers=headers) as ws:
        assert ws.response.headers["Upgrade"].lower() == "websocket"
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        expect_echo(ws, "handshake")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods(agent, method):
    for request in (handshake("/terminal", method=method), head(method, "/terminal", tokens.bearer(tokens.token()))):
        response = ask(agent, request)
        expect_error(response, 405, "METHOD_NOT_ALLOWED")
        assert "GET" in response.headers["Allow"]


def test_head(agent):
    assert ask(agent, handshake("/terminal", method="HEAD"), has_body=False).status_code == 426


def test_upgrades_elsewhere(agent):
    """A path that is no WebSocket answers as always."""
    assert ask(agent, handshake("/health")).status_code == 200
    assert ask(agent, handshake("/no/such/path")).status_code == 404


def test_refusals_keep_the_connection(agent):
    """Refused handshakes are plain answers, and the same connection may go on, even to a handshake."""
    with RawConnection(agent.port) as connection:
        for request, status in (
            (handshake("/terminal", token=""), 401),
            (handshake("/terminal", {"Sec-WebSocket-Version": "8"}), 426),
            (handshake("/terminal", {"Sec-WebSocket-Key": "x"}), 400),
            (handshake("/terminal", {"Origin": ORIGIN, **bearer_protocol()}, token=""), 403),
        ):
            connection.send(request)
            assert read_refusal(connection).status_code == status
        expect_echo(Terminal(agent, connection=connection), "after all")


# No byte is lost


def test_on_a_reused_connection(agent):
    with RawConnection(agent.port) as connection:
        for _ in range(2):
            connection.send(head("GET", "/health"))
            assert connection.read_response().status_code == 200
        expect_echo(Terminal(agent, connection=connection), "reused")


def test_pipelined_behind_plain_requests(agent):
    """Everything in one segment: two requests, the handshake, a frame."""
    with RawConnection(agent.port) as connection:
        connection.send(head("GET", "/health") * 2)
        connection.send(handshake("/terminal") + frame_bytes(PING, b"pipelined"))
        for _ in range(2):
            assert connection.read_response().status_code == 200
        assert connection.read_head().status_code == 101
        assert RawWebSocket.over(connection).read_pong() == b"pipelined"


def test_one_frame_behind_the_handshake(agent):
    with Terminal(agent, extra=message_bytes(type="input", data="echo one''frame\n")) as ws:
        ws.read_until("oneframe")


def test_several_frames_behind_the_handshake(agent):
    frames = [frame_bytes(PING, b"first"), message_bytes(type="resize", cols=99, rows=33)]
    frames += [message_bytes(type="input", data=f"echo {i}''{i}.\n") for i in range(40)]
    with Terminal(agent, extra=b"".join(frames)) as ws:
        assert ws.read_pong() == b"first"
        for i in range(40):
            ws.read_until(f"{i}{i}.")
        assert ws.run("stty size") == "33 99\n"


@pytest.mark.parametrize("size", [1000, 2000, 2048, 4096, 16384, 60 * 1024, 300 * 1024])
def test_much_behind_the_handshake(agent, size):
    """One large text message, and one behind it."""
    extra = message_bytes(type="x" * size) + message_bytes(type="ping")
    with RawWebSocket(agent, extra=extra) as ws:
        assert ws.read_type("error")["details"]["field"] == "/type"
        ws.read_type("pong")


def test_much_input_behind_the_handshake(agent):
    """Nothing of 60 KiB is lost or turned around: the terminal, told to be a plain pipe, gives it to a program."""
    lines = "".join(f"{i:07}\n" for i in range(60 * 1024 // 8))
    program = quote("stty -echo -icanon -icrnl; sha1sum <(head -c 61440)")
    with Terminal(agent, f"/terminal?shell=bash&command={program}", extra=frame_bytes(BINARY, lines)) as ws:
        ws.read_exit()
        assert hashlib.sha1(lines.encode()).hexdigest().encode() in bytes(ws.output)


def test_a_handshake_byte_by_byte(agent):
    request = handshake("/terminal") + frame_bytes(PING, b"slowly") + message_bytes(type="input", data="echo sl''ow\n")
    with RawConnection(agent.port) as connection:
        for i in range(len(request)):
            connection.send(request[i : i + 1])
        assert connection.read_head().status_code == 101
        ws = Terminal.over(connection)
        assert ws.read_pong() == b"slowly"
        ws.read_until("slow")


# What is told about it


def test_request_id(agent):
    with RawWebSocket(agent, headers={"X-Request-ID": "client-chose-this.1"}) as ws:
        assert ws.response.headers["X-Request-ID"] == "client-chose-this.1"
        ws.send(type="nonsense")
        assert ws.read_type("error")["request_id"] == "client-chose-this.1"
        ws.close()
    with RawWebSocket(agent) as ws:
        assert re.match(r"req_[0-9a-f]{8,}$", ws.response.headers["X-Request-ID"])


def test_the_log(agent):
    with RawWebSocket(agent, headers={"X-Request-ID": "log-test"}) as ws:
        wait_until(lambda: re.search(r"access: request id=log-test .*", agent.log()), "access log line")
        ws.send(type="ping")
        ws.read_type("pong")
        ws.close()
    line = re.search(r"access: request id=log-test .*", agent.log())[0]
    assert "method=GET route=/terminal status=101 " in line and "subject=tests" in line
    closed = wait_until(lambda: re.search(r"ws: websocket closed id=log-test .*", agent.log()), "close log line")[0]
    assert "route=/terminal code=1000 " in closed
    fields = dict(re.findall(r"(\w+)=(\d+)", closed))
    assert int(fields["received"]) == len(json.dumps({"type": "ping"})) and int(fields["sent"]) > 0
    assert agent.log_with(agent.http.get("/health")).count("id=log-test") == 2


# Limits


def test_the_limit_on_connections(new_agent):
    agent = new_agent(max_websockets=2)
    with Terminal(agent) as first, Terminal(agent) as second:
        response = ask(agent, handshake("/terminal"))
        expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
        assert int(response.headers["Retry-After"]) >= 1
        assert "max-websockets" in response.json()["message"]
        assert agent.gauges()["websockets"] == 2
        expect_echo(second, "still there")
        first.close()
        wait_until(lambda: agent.gauges()["websockets"] == 1, "a free slot")
        with Terminal(agent) as third:
            expect_echo(third, "third")
        # A connection that was cut is a free slot, too.
        wait_until(lambda: agent.gauges()["websockets"] == 1, "a free slot")
        with Terminal(agent) as fourth:
            expect_echo(fourth, "fourth")


def test_open_connections_are_no_connections_of_http(new_agent):
    """An upgraded connection leaves the HTTP side's limit alone."""
    agent = new_agent(max_connections=4)
    terminals = [Terminal(agent) for _ in range(8)]
    assert agent.gauges()["websockets"] == 8
    for ws in terminals:
        expect_echo(ws, "many")
    for ws in terminals:
        ws.close()


def test_a_hundred_handshakes_at_once(agent):
    started = time.monotonic()
    connections = [RawConnection(agent.port) for _ in range(100)]
    for connection in connections:
        connection.send(handshake("/terminal?command=true", {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}))
    for connection in connections:
        response = connection.read_head()
        assert response.status_code == 101
        assert response.headers["Sec-WebSocket-Accept"] == accept_of("AAAAAAAAAAAAAAAAAAAAAA==")
        connection.close()
    wait_until(lambda: agent.gauges()["websockets"] == 0, "end of all")
    assert time.monotonic() - started < 60
