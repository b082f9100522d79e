# SPDX-License-Identifier: Apache-2.0
"""Health and information, and how HTTP itself is spoken: methods, request ids, CORS, connections."""

import re
import socket
import subprocess
import sys

import httpx
import pytest

from lib import raw
from lib.agent import BINARY, base_environment, option_arguments
from lib.expect import REQUEST_ID, TIMESTAMP, expect_error, expect_json
from lib.waiting import listens, wait_until

ORIGIN = "https://app.example.com"


@pytest.mark.smoke
def test_root_says_who_it_is(agent):
    root = expect_json(agent.anonymous.get("/"))
    assert root["status"] == "running"
    assert root["message"] == "success"
    assert root["agent"] and root["version"] and root["vm_id"]
    assert TIMESTAMP.match(root["timestamp"])


def test_ping_is_a_map_of_strings(agent):
    pong = expect_json(agent.anonymous.get("/ping"))
    assert pong["status"] == "ok"
    assert all(isinstance(value, str) for value in pong.values())


@pytest.mark.smoke
def test_health_has_what_the_clients_read(agent):
    health = expect_json(agent.anonymous.get("/health"))
    assert health["status"] == "healthy"
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+(\.\d+)?s", health["uptime"])
    assert isinstance(health["uptime_seconds"], (int, float))
    assert health["agent"] and health["version"] and health["vm_id"]
    features = health["features"]
    assert features["code_execution"] is True
    assert {"python", "bash"} <= set(features["languages"])
    assert features["terminal_access"] is True
    assert features["websocket_streaming"] is True
    assert features["file_operations"] is True
    for absent in ("ipython_kernel",):
        assert features.get(absent, False) is False, f"{absent} is not there yet, and must not be promised"


def test_info_is_the_union_of_both_generations(agent):
    info = expect_json(agent.anonymous.get("/info"))
    for name in ("agent", "vm_id", "agent_version", "version", "os", "arch", "platform", "start_time"):
        assert isinstance(info[name], str) and info[name], name
    assert info["port"] == info["vm_port"] == str(agent.port)
    links = expect_json(agent.anonymous.get("/system"))["network"]["interfaces"]
    known = [row["ip"] for row in links if not row["loopback"] and row["ip"] and ":" not in row["ip"]]
    assert info["ip"] == info["vm_ip"] == (known or [""])[0]
    assert isinstance(info["uptime_seconds"], (int, float))
    assert isinstance(info["features"], dict)
    assert "POST /execute" in info["endpoints"].values()


def test_info_can_be_closed(new_agent):
    agent = new_agent(public_info="false")
    expect_error(agent.anonymous.get("/info"), 401, "AUTHENTICATION_REQUIRED")
    expect_json(agent.http.get("/info"))


def test_vm_id_comes_from_the_options(new_agent):
    agent = new_agent(vm_id="vm-1234")
    for path in ("/", "/health", "/info"):
        assert expect_json(agent.http.get(path))["vm_id"] == "vm-1234"


@pytest.mark.parametrize("path", ["/jupyter/sessions", "/jupyter/status"])
def test_there_are_no_kernels_and_it_is_said_why(agent, path):
    expect_error(agent.anonymous.get(path), 401, "AUTHENTICATION_REQUIRED")
    document = expect_json(agent.http.get(path))
    assert document["sessions"] == [] and document["count"] == 0
    assert document["available"] is False and document["status"] == "unavailable"
    assert document["reason"] == "NO_JUPYTER" and "no Jupyter kernels" in document["message"]
    assert TIMESTAMP.match(document["timestamp"])


@pytest.mark.parametrize("prefix", ["/update", "/agent/update"])
def test_the_agent_is_not_updated_by_its_clients(agent, prefix):
    expect_error(agent.http.get(f"{prefix}/backups"), 404, "NOT_FOUND")
    for step in ("upload", "apply", "restart"):
        expect_error(agent.http.post(f"{prefix}/{step}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/nothing", "/execute/", "/EXECUTE", "/health/x", "/%2e%2e/health"])
def test_unknown_paths_are_404(agent, path):
    expect_error(agent.http.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("DELETE", "/health", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("GET", "/execute", {"POST"}),
        ("HEAD", "/execute", {"POST"}),
        ("PUT", "/commands/run", {"POST"}),
        ("OPTIONS", "/execute", {"POST"}),
        ("BREW", "/health", {"GET", "HEAD"}),
    ],
)
def test_wrong_methods_are_405_and_name_the_right_ones(agent, method, path, allowed):
    response = agent.http.request(method, path)
    assert {name.strip() for name in response.headers["Allow"].split(",")} == allowed
    if method == "HEAD":
        assert response.status_code == 405
    else:
        expect_error(response, 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["/", "/ping", "/health", "/info"])
def test_head_is_get_without_the_body(agent, path):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("HEAD", path) + raw.head("GET", "/ping"))
        response = connection.read_response(has_body=False)
        assert response.status_code == 200
        assert int(response.headers["Content-Length"]) > 0
        assert response.headers["Content-Type"].startswith("application/json")
        # A body that should not be there would be taken for this answer's start.
        assert connection.read_response().json()["message"] == "pong"


@pytest.mark.parametrize("value", ["abc", "req-123_4.5", "7b0e8f4e-1111-4c7a-9f10-0242ac120002", "x" * 128])
def test_sane_request_ids_are_echoed(agent, value):
    response = agent.anonymous.get("/health", headers={"X-Request-ID": value})
    assert response.headers["X-Request-ID"] == value
    failure = agent.anonymous.get("/nothing", headers={"X-Request-ID": value})
    assert expect_error(failure, 404, "NOT_FOUND")["request_id"] == value


@pytest.mark.parametrize("value", [None, "", "a b", "x" * 129, 'quote"', "caf\u00e9", "a\tb"])
def test_other_request_ids_are_replaced(agent, value):
    headers = {} if value is None else {"X-Request-ID": value.encode()}
    first = agent.anonymous.get("/health", headers=headers).headers["X-Request-ID"]
    second = agent.anonymous.get("/health", headers=headers).headers["X-Request-ID"]
    assert REQUEST_ID.match(first) and REQUEST_ID.match(second)
    assert first != second


def test_cors_is_off_by_default(agent):
    response = agent.anonymous.get("/health", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control-")]
    preflight = agent.anonymous.options(
        "/execute", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    )
    expect_error(preflight, 405, "METHOD_NOT_ALLOWED")


def test_cors_serves_the_listed_origins_only(new_agent):
    agent = new_agent(cors_origin=[ORIGIN, "http://localhost:3000"])
    preflight = agent.anonymous.options(
        "/execute",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert preflight.status_code in (200, 204)
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "Origin" in preflight.headers["Vary"]

    # A page must be able to read errors and the request id too.
    refused = agent.anonymous.post("/execute", json={}, headers={"Origin": ORIGIN})
    expect_error(refused, 401, "AUTHENTICATION_REQUIRED")
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "x-request-id" in refused.headers["Access-Control-Expose-Headers"].lower()

    stranger = agent.anonymous.get("/health", headers={"Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_cors_star_allows_any_origin(new_agent):
    agent = new_agent(cors_origin="*")
    response = agent.anonymous.get("/health", headers={"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)


def test_connections_are_kept(agent):
    with raw.RawConnection(agent.port) as connection:
        for _ in range(3):
            connection.send(raw.head("GET", "/ping"))
            assert connection.read_response().status_code == 200


@pytest.mark.parametrize(
    "headers, version", [({"Connection": "close"}, "HTTP/1.1"), ({}, "HTTP/1.0")]
)
def test_connections_are_closed_when_the_client_says_so(agent, headers, version):
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("GET", "/ping", headers, version))
        assert connection.read_response().status_code == 200
        assert connection.is_closed_by_peer()


def test_pipelined_requests_are_answered_in_order(agent):
    headers = dict(agent.http.headers)
    authorization = {"Authorization": headers["authorization"]}
    wanted = [f"pipe-{n}" for n in range(8)]
    requests = b""
    for n, request_id in enumerate(wanted):
        fields = {"X-Request-ID": request_id, **authorization}
        if n % 2:
            requests += raw.post("/commands/run", {"command": f"sleep 0.0{9 - n}; echo {n}"}, fields)
        else:
            requests += raw.head("GET", "/health", fields)
    with raw.RawConnection(agent.port) as connection:
        connection.send(requests)
        answers = [connection.read_response() for _ in wanted]
    assert [answer.headers["X-Request-ID"] for answer in answers] == wanted
    assert [answer.json()["stdout"] for answer in answers[1::2]] == ["1\n", "3\n", "5\n", "7\n"]


def test_a_body_may_arrive_byte_by_byte(agent):
    request = raw.post("/commands/run", {"command": "echo slow"}, agent.http.headers)
    with raw.RawConnection(agent.port) as connection:
        for n in range(len(request)):
            connection.send(request[n : n + 1])
        assert connection.read_response().json()["stdout"] == "slow\n"


def test_chunked_bodies_and_100_continue(agent):
    body = b'{"command": "echo chunks"}'
    fields = {
        "Authorization": agent.http.headers["authorization"],
        "Transfer-Encoding": "chunked",
        "Expect": "100-continue",
    }
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.head("POST", "/commands/run", fields))
        assert connection.read_head().status_code == 100
        for part in (body[:5], body[5:]):
            connection.send(b"%x\r\n%s\r\n" % (len(part), part))
        connection.send(b"0\r\n\r\n")
        assert connection.read_response().json()["stdout"] == "chunks\n"


def test_the_content_type_of_a_request_does_not_matter(agent):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {"Content-Type": content_type} if content_type else {}
        response = agent.http.post("/commands/run", content=b'{"command": "echo x"}', headers=headers)
        assert expect_json(response)["stdout"] == "x\n"


def test_every_request_has_an_access_line(agent):
    response = agent.http.get("/health?secret=hunter2", headers={"X-Request-ID": "access-line-1"})
    assert response.status_code == 200

    def find_line():
        return [line for line in agent.log().splitlines() if "access-line-1" in line]

    (line,) = wait_until(find_line, "access line")
    assert "/health" in line and "200" in line
    assert "hunter2" not in line


def test_a_unix_socket_is_served(tmp_path):
    path = tmp_path / "agent.sock"
    with listening_on(f"unix:{path}", tmp_path) as process:
        wait_until(lambda: listens(path), "socket")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://agent") as client:
            wait_until(lambda: answers(client), "answer over the unix socket", timeout=10)
            assert expect_json(client.get("/health"))["status"] == "healthy"
        assert process.poll() is None


def test_a_socket_passed_by_systemd_is_used(tmp_path):
    """As systemd passes it: descriptor 3, LISTEN_FDS=1, LISTEN_PID."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        start = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        launcher = [sys.executable, "-c", start, str(listener.fileno())]
        with listening_on("127.0.0.1:1", tmp_path, launcher, pass_fds=[listener.fileno()]):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until(lambda: answers(client), "answer on the passed socket", timeout=10)


def answers(client):
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


class listening_on:
    """An agent whose address is no TCP port of its own choosing; stopped with a check of its exit status."""

    def __init__(self, listen, directory, launcher=(), pass_fds=()):
        secret = directory / "secret"
        secret.write_text("x" * 32)
        options = {
            "listen": listen,
            "workspace": directory / "workspace",
            "runtime_dir": directory / "run",
            "jwt_secret_file": secret,
        }
        self.arguments = [*launcher, str(BINARY), *option_arguments(options)]
        self.pass_fds = pass_fds

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, env=base_environment(), pass_fds=self.pass_fds)
        return self.process

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0
