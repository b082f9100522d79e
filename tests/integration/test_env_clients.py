# SPDX-License-Identifier: Apache-2.0
"""/env as the users of the public clients know it. These remove one variable by reading all and writing the rest back,
which has to work with masks as well."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hopx_ai import Sandbox
from hopx_ai.errors import HopxError

from lib import tokens
from lib.control_plane import ControlPlane
from lib.expect import expect_json
from lib.sdk import async_sandbox, control_plane, fresh_token_cache  # noqa: F401 (fixtures)

DRIVER = Path(__file__).with_name("sdk_env.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"
MASK = "***MASKED***"

# Functions that bash exports have such names. Nobody may send one back, and nobody has to.
INHERITED = {"BASH_FUNC_greet%%": "() { echo hi; }", "odd.name": "1", "INHERITED_TOKEN": "inherited"}


@pytest.fixture(scope="module", params=["false", "true"], ids=["plain", "masked"])
def agent(request):
    from lib.agent import Agent

    agent = Agent(env_mask=request.param, environment=INHERITED)
    agent.is_masked = request.param == "true"
    yield agent
    agent.close()


@pytest.fixture(autouse=True)
def clean(agent):
    expect_json(agent.http.delete("/env"))


def expect_secret(agent, shown):
    """The secret was written back by somebody who may have seen its mask only."""
    assert shown["API_KEY"] == (MASK if agent.is_masked else "kept")
    assert shown["INHERITED_TOKEN"] == (MASK if agent.is_masked else "inherited")
    result = expect_json(agent.run('echo "$API_KEY $INHERITED_TOKEN"'))
    assert result["stdout"] == "kept inherited\n"


def test_python(agent):
    sandbox = Sandbox.debug(agent.url, tokens.token())
    env = sandbox.env
    fresh = env.get_all()
    assert fresh["PATH"] and not fresh.keys() & {"VAR1", "odd.name"}
    shown = env.set_all({"VAR1": "1", "API_KEY": "kept"})
    assert shown["VAR1"] == "1" and "VAR2" not in shown
    assert env.update({"VAR2": "2"}).items() >= {"VAR1": "1", "VAR2": "2"}.items()
    env.set("VAR3", "3")
    assert (env.get("VAR3"), env.get("MISSING"), env.get("MISSING", "default")) == ("3", None, "default")
    env.delete("VAR1")
    left = env.get_all()
    assert "VAR1" not in left and (left["VAR2"], left["VAR3"]) == ("2", "3")
    assert left.keys() - fresh.keys() == {"VAR2", "VAR3", "API_KEY"}
    expect_secret(agent, left)
    assert sandbox.run_code("import os; print(os.environ['VAR2'])").stdout == "2\n"
    assert sandbox.commands.run("echo $VAR3").stdout == "3\n"
    with pytest.raises(HopxError, match="NOT-A-NAME"):
        env.set("NOT-A-NAME", "x")
    sandbox._agent_client.close()


async def test_asynchronous_python(agent, async_sandbox):  # noqa: F811
    env = async_sandbox.env
    assert (await env.get_all())["PATH"]
    await env.set_all({"VAR1": "1", "API_KEY": "kept"})
    await env.update({"VAR2": "2"})
    await env.set("VAR3", "3")
    assert await env.get("VAR3") == "3"
    await env.delete("VAR1")
    left = await env.get_all()
    assert "VAR1" not in left and (left["VAR2"], left["VAR3"]) == ("2", "3")
    expect_secret(agent, left)
    with pytest.raises(HopxError, match="400"):  # it reads nothing that we write
        await env.set("NOT-A-NAME", "x")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
def test_javascript(agent):
    with ControlPlane(agent.url) as plane:
        command = ["node", str(DRIVER), plane.url, "sandbox-1"]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    assert found["fresh"]["PATH"]
    assert found["setAll"]["VAR1"] == "1"
    assert found["update"].items() >= {"VAR1": "1", "VAR2": "2"}.items()
    assert (found["got"], found["missing"]) == ("3", None)
    left = found["left"]
    assert "VAR1" not in left and (left["VAR2"], left["VAR3"]) == ("2", "3")
    expect_secret(agent, left)
    assert (found["refused"]["statusCode"], found["refused"]["code"]) == (400, "INVALID_REQUEST")
    assert "NOT-A-NAME" in found["refused"]["message"]
