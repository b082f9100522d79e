# SPDX-License-Identifier: Apache-2.0
"""The public JavaScript client, driven by sdk_driver.mjs through a stand-in of the control plane."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lib import tokens
from lib.control_plane import ControlPlane
from lib.expect import RESULT_TYPES

DRIVER = Path(__file__).with_name("sdk_driver.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/"),
]

LANGUAGES = {
    "python": "print(6 * 7)",
    "javascript": "console.log(6 * 7)",
    "bash": "echo $((6 * 7))",
    "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println(6 * 7) }',
}


class ClientError(Exception):
    def __init__(self, fields):
        super().__init__(fields["message"])
        self.fields = fields


class Client:
    """One node process with one sandbox object."""

    def __init__(self, control_plane, sandbox_id):
        self.process = subprocess.Popen(
            ["node", str(DRIVER), control_plane.url, sandbox_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name, **arguments):
        self.process.stdin.write(json.dumps({"call": name, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def client(agent):
    with ControlPlane(agent.url) as plane:
        client = Client(plane, "sandbox-1")
        assert client.call("connect") == "sandbox-1"
        yield client
        client.close()


def run_code(agent, client, code, **options):
    return client.call("runCode", code=code, options={"workingDir": str(agent.workspace), **options})


def test_health_and_info(client):
    assert client.call("getHealth")["status"] == "healthy"
    assert client.call("isHealthy") is True
    client.call("ensureHealthy")
    assert client.call("getAgentInfo")["agent"]
    assert client.call("getJupyterSessions") == []
    assert client.call("getMetricsSnapshot")["total_executions"] >= 0


def test_list_system_processes(agent, client):
    rows = {row["pid"]: row for row in client.call("listSystemProcesses")}
    assert rows[agent.pid]["name"] == "vm-agent" and rows[agent.pid]["status"]


def test_metrics(agent, client):
    before = client.call("getMetricsSnapshot")
    agent.run("true")
    after = client.call("getMetricsSnapshot")
    assert after["total_executions"] == before["total_executions"] + 1
    assert after["requests_total"]["POST /commands/run"]["success"] >= 1
    assert 0 <= after["system"]["memory"]["usage_percent"] <= 100


def test_the_result_cache(agent, client):
    agent.http.post("/execute", json={"code": "echo 1", "language": "bash", "cache": True})
    stats = client.call("cacheStats")
    assert stats["cache"]["size"] > 0 and stats["cache"]["ttl"] == "1h0m0s"
    done = client.call("cacheClear")
    assert done["success"] is True and done["entries_removed"] == 1
    assert client.call("cacheStats")["cache"]["size"] == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_run_code_in_every_language(agent, client, language):
    if language not in client.call("getHealth")["features"]["languages"]:
        pytest.skip(f"no {language}")
    result = run_code(agent, client, LANGUAGES[language], language=language)
    assert (result["success"], result["stdout"], result["stderr"]) == (True, "42\n", "")


def test_failures(agent, client):
    result = run_code(agent, client, "raise ValueError('boom')")
    assert result["success"] is False
    assert "ValueError: boom" in result["stderr"]


def test_timeouts_return_a_result_and_are_not_retried(agent, client):
    start = time.monotonic()
    result = run_code(agent, client, "import time; print('before'); time.sleep(1000)", timeout=1)
    assert time.monotonic() - start < 10
    assert result["success"] is False and result["stdout"] == "before\n"


def test_environment_and_directory(client, tmp_path):
    code = "import os; print(os.environ['GREETING'], os.getcwd())"
    options = {"env": {"GREETING": "hi"}, "workingDir": str(tmp_path)}
    assert client.call("runCode", code=code, options=options)["stdout"] == f"hi {tmp_path}\n"


def test_preflight(agent, client):
    assert run_code(agent, client, "print('x')", preflight=True)["stdout"] == "x\n"


def test_commands(client, tmp_path):
    options = {"workingDir": str(tmp_path), "env": {"A": "abc"}}
    result = client.call("runCommand", command="echo $A; pwd; echo err >&2; exit 3", options=options)
    # This client hands out the document as it came.
    assert set(RESULT_TYPES) <= set(result)
    assert (result["stdout"], result["stderr"]) == (f"abc\n{tmp_path}\n", "err\n")
    assert result["exit_code"] == result["exitCode"] == 3
    result = client.call("runCommand", command="sleep 1000", options={**options, "timeout": 1})
    assert (result["exit_code"], result["reason"]) == (124, "timeout")


def test_errors(agent, client):
    with pytest.raises(ClientError) as caught:
        run_code(agent, client, "1", language="cobol")
    fields = caught.value.fields
    assert (fields["name"], fields["code"], fields["statusCode"]) == ("APIError", "INVALID_REQUEST", 400)
    assert "language" in fields["message"]
    assert fields["requestId"].startswith("req_")
    with pytest.raises(ClientError) as caught:
        client.call("runCode", code="1", options={"workingDir": "/no/such/dir"})
    assert caught.value.fields["code"] == "WORKDIR_NOT_FOUND"


def test_expired_tokens_are_told_as_such(agent):
    """This client sends its first token for ever: with an expired one it reports that, and does not hang."""
    with ControlPlane(agent.url, lambda: tokens.token(ttl=-10)) as plane:
        client = Client(plane, "sandbox-2")
        client.call("connect")
        with pytest.raises(ClientError) as caught:
            run_code(agent, client, "print(1)")
        assert caught.value.fields["name"] == "TokenExpiredError"
        refreshes = plane.requests.count("POST /v1/sandboxes/sandbox-2/token/refresh")
        assert refreshes >= 2
        client.close()
