# SPDX-License-Identifier: Apache-2.0
"""The public Python client, synchronous and asynchronous, as its users use it."""

import os
import time

import pytest
from hopx_ai import Sandbox
from hopx_ai.errors import AgentError

from lib import tokens
from lib.control_plane import ControlPlane
from lib.sdk import async_sandbox, control_plane, fresh_token_cache  # noqa: F401 (fixtures)
from lib.sdk import debug_sandbox as sandbox  # noqa: F401

LANGUAGES = {
    "python": "print(6 * 7)",
    "javascript": "console.log(6 * 7)",
    "bash": "echo $((6 * 7))",
    "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println(6 * 7) }',
}


def skip_if_absent(agent, language):
    if language not in agent.anonymous.get("/health").json()["features"]["languages"]:
        pytest.skip(f"no {language}")


def test_health_and_info(sandbox):
    assert sandbox.is_healthy()
    info = sandbox.get_agent_info()
    assert info["agent"] and info["agent_version"] and info["features"]
    assert sandbox.get_jupyter_sessions() == []
    metrics = sandbox.get_agent_metrics()
    assert metrics["uptime_seconds"] >= 0 and metrics["total_requests"] > 0
    assert sandbox.get_metrics_snapshot()["total_executions"] >= 0


def test_metrics_as_its_examples_read_them(agent, sandbox):
    before = sandbox.get_metrics_snapshot()
    assert sandbox.run_code("print(1)", working_dir=str(agent.workspace)).success
    after = sandbox.get_agent_metrics()
    assert after["total_executions"] == before["total_executions"] + 1
    assert after["active_executions"] == 0 and after["error_count"] == before["error_count"]
    outcomes = [metrics["requests_total"].get("POST /execute", {}) for metrics in (before, after)]
    assert outcomes[1].get("success") == outcomes[0].get("success", 0) + 1
    assert all(isinstance(value, (int, float)) for value in after["avg_duration_ms"].values())
    assert after["system"]["cpu"]["cores"] > 0 and after["system"]["memory"]["total"] > 0
    assert after["process"]["count"] == 0 and after["cache"]["hit_rate"] == 0


async def test_metrics_of_the_asynchronous_client(async_sandbox):
    """It reads /metrics, where the synchronous one reads /metrics/snapshot."""
    metrics = await async_sandbox.get_metrics_snapshot()
    assert metrics["total_requests"] > 0 and metrics["requests_total"]


def test_the_readme(agent, sandbox):
    """Without a directory: the SDK then names /workspace, wherever the agent's workspace is."""
    assert sandbox.run_code("print(6 * 7)").stdout == "42\n"
    assert sandbox.commands.run("uname -s").stdout == "Linux\n"
    if not os.path.exists("/workspace"):
        assert sandbox.commands.run("pwd").stdout == f"{agent.workspace}\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_run_code_in_every_language(agent, sandbox, language):
    skip_if_absent(agent, language)
    result = sandbox.run_code(LANGUAGES[language], language=language, working_dir=str(agent.workspace))
    assert (result.success, result.stdout, result.stderr, result.exit_code) == (True, "42\n", "", 0)
    assert 0 < result.execution_time < 60
    assert not result.rich_outputs


def test_run_code_that_fails(agent, sandbox):
    result = sandbox.run_code("raise ValueError('boom')", working_dir=str(agent.workspace))
    assert result.success is False
    assert result.exit_code == 1
    assert "ValueError: boom" in result.stderr


def test_stderr_alone_is_no_failure(agent, sandbox):
    code = "import sys; print('warn', file=sys.stderr)"
    result = sandbox.run_code(code, working_dir=str(agent.workspace))
    assert result.success is True and result.stderr == "warn\n"


def test_run_code_that_takes_too_long_returns_a_result(agent, sandbox):
    start = time.monotonic()
    code = "import time; print('before'); time.sleep(1000)"
    result = sandbox.run_code(code, timeout=2, working_dir=str(agent.workspace))
    assert time.monotonic() - start < 10, "the client must not have tried again"
    assert result.success is False
    assert (result.exit_code, result.stdout) == (124, "before\n")


def test_run_code_with_environment_and_directory(agent, sandbox, tmp_path):
    code = "import os; print(os.environ['GREETING'], os.getcwd())"
    result = sandbox.run_code(code, env={"GREETING": "hi"}, working_dir=str(tmp_path))
    assert result.stdout == f"hi {tmp_path}\n"
    result = sandbox.run_code("import os; print('GREETING' in os.environ)", working_dir=str(tmp_path))
    assert result.stdout == "False\n"


def test_commands(agent, sandbox, tmp_path):
    result = sandbox.commands.run("echo out; echo err >&2; exit 3", working_dir=str(tmp_path))
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert not result.is_success
    result = sandbox.commands.run("echo $A | tr a-z A-Z; pwd", env={"A": "abc"}, working_dir=str(tmp_path))
    assert result.stdout == f"ABC\n{tmp_path}\n"
    result = sandbox.commands.run("sleep 1000", timeout=1, working_dir=str(tmp_path))
    assert result.exit_code == 124


def test_errors_have_code_message_and_request_id(agent, sandbox):
    with pytest.raises(AgentError) as caught:
        sandbox.run_code("1", language="cobol", working_dir=str(agent.workspace))
    assert caught.value.code == "INVALID_REQUEST"
    assert "language" in str(caught.value)
    assert caught.value.request_id.startswith("req_")
    with pytest.raises(AgentError) as caught:
        sandbox.run_code("1", working_dir="/no/such/dir")
    assert caught.value.code == "WORKDIR_NOT_FOUND"


def test_a_bad_token(agent):
    sandbox = Sandbox.debug(agent.url, tokens.token("some-other-secret-0123456789abcdefghij"))
    with pytest.raises(AgentError) as caught:
        sandbox.run_code("print(1)", working_dir=str(agent.workspace))
    assert caught.value.code == "INVALID_TOKEN"
    sandbox._agent_client.close()


def test_an_expired_token_is_refreshed(agent):
    """The first token that the control plane hands out is expired: the client must see a 401, and try again."""
    ages = iter([-10])
    with ControlPlane(agent.url, lambda: tokens.token(ttl=next(ages, tokens.HOUR))) as plane:
        sandbox = Sandbox.connect("sandbox-2", api_key="key", base_url=plane.url)
        result = sandbox.run_code("print('refreshed')", working_dir=str(agent.workspace))
        assert result.stdout == "refreshed\n"
        assert plane.requests.count("POST /v1/sandboxes/sandbox-2/token/refresh") == 2
        assert len(set(plane.tokens)) == 2
        sandbox._agent_client.close()


def test_through_the_control_plane_with_preflight(agent, control_plane):
    sandbox = Sandbox.connect("sandbox-3", api_key="key", base_url=control_plane.url)
    result = sandbox.run_code("print('preflight')", preflight=True, working_dir=str(agent.workspace))
    assert result.stdout == "preflight\n"
    sandbox._agent_client.close()


async def test_async_health_and_info(async_sandbox):
    assert await async_sandbox.is_healthy()
    assert (await async_sandbox.get_agent_info())["agent"]
    assert await async_sandbox.get_jupyter_sessions() == []
    assert (await async_sandbox.get_agent_metrics())["uptime_seconds"] >= 0


@pytest.mark.parametrize("language", LANGUAGES)
async def test_async_run_code_in_every_language(agent, async_sandbox, language):
    skip_if_absent(agent, language)
    result = await async_sandbox.run_code(
        LANGUAGES[language], language=language, working_dir=str(agent.workspace)
    )
    assert (result.success, result.stdout, result.exit_code) == (True, "42\n", 0)


async def test_async_failures_and_timeouts(agent, async_sandbox):
    result = await async_sandbox.run_code("1 / 0", working_dir=str(agent.workspace))
    assert result.success is False and "ZeroDivisionError" in result.stderr
    code = "import time; time.sleep(1000)"
    result = await async_sandbox.run_code(code, timeout_seconds=1, working_dir=str(agent.workspace))
    assert result.success is False and result.exit_code == 124


async def test_async_commands(agent, async_sandbox, tmp_path):
    result = await async_sandbox.commands.run(
        "echo $A; pwd; exit 2", env={"A": "abc"}, working_dir=str(tmp_path)
    )
    assert (result.stdout, result.exit_code, result.success) == (f"abc\n{tmp_path}\n", 2, False)


async def test_async_errors(async_sandbox):
    with pytest.raises(AgentError):
        await async_sandbox.run_code("1", working_dir="/no/such/dir")
