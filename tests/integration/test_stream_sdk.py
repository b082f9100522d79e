# SPDX-License-Identifier: Apache-2.0
"""Streams through the public clients."""

import pytest
from hopx_ai import AsyncSandbox
from test_js_sdk import Client
from test_js_sdk import pytestmark as needs_js_sdk

from lib.sdk import control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)

FRAMES = 200
# Slower than the shortest interval between two frames, so that each line is one.
LINES = f"import time\nfor i in range({FRAMES}):\n  print(f'line {{i}}')\n  time.sleep(0.008)"
EXPECTED = "".join(f"line {i}\n" for i in range(FRAMES))


@pytest.fixture
async def async_sandbox(control_plane):
    sandbox = await AsyncSandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    yield sandbox
    if sandbox._agent_client:
        await sandbox._agent_client.close()
    await sandbox._client.close()


@pytest.fixture
def js(control_plane):
    client = Client(control_plane, "sandbox-1")
    client.call("connect")
    yield client
    client.close()


def join(messages, type):
    return "".join(message["data"] for message in messages if message["type"] == type)


def expect_end(messages, exit_code=0):
    assert [message["type"] for message in messages[-2:]] == ["result", "complete"], messages[-3:]
    assert messages[-2]["exit_code"] == exit_code and messages[-2]["execution_time"] > 0
    assert messages[-1]["success"] is (exit_code == 0)


async def collect(sandbox, code, **options):
    return [message async for message in sandbox.run_code_stream(code, **options)]


async def check_python_client(agent, sandbox, tmp_path):
    code = "import os, sys\nprint(os.environ['A'], os.getcwd())\nprint('err', file=sys.stderr)"
    messages = await collect(sandbox, code, env={"A": "abc"}, working_dir=str(tmp_path))
    assert join(messages, "stdout") == f"abc {tmp_path}\n"
    assert join(messages, "stderr") == "err\n"
    expect_end(messages)

    # Without a directory the client names /workspace, wherever the workspace is.
    messages = await collect(sandbox, "echo hi; exit 3", language="bash")
    assert join(messages, "stdout") == "hi\n"
    expect_end(messages, 3)

    messages = await collect(sandbox, "raise ValueError('boom')", working_dir=str(agent.workspace))
    assert "ValueError: boom" in join(messages, "stderr")
    expect_end(messages, 1)

    messages = await collect(sandbox, "import time; time.sleep(1000)", timeout=1, working_dir="/tmp")
    expect_end(messages, 124)

    messages = await collect(sandbox, "print('x' * 5_000_000)", working_dir="/tmp")
    assert join(messages, "stdout") == "x" * 5_000_000 + "\n"
    expect_end(messages)

    messages = await collect(sandbox, "1", working_dir="/no/such/dir")
    assert [message["type"] for message in messages] == ["error", "complete"]
    assert messages[0]["code"] == "WORKDIR_NOT_FOUND"


async def test_python(agent, sandbox, tmp_path):
    await check_python_client(agent, sandbox, tmp_path)


async def test_python_async(agent, async_sandbox, tmp_path):
    await check_python_client(agent, async_sandbox, tmp_path)


async def test_python_receives_while_it_runs(sandbox, tmp_path):
    """The program waits for a file that is made when its first line has come."""
    code = "import os, time\nprint('first')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('second')"
    seen = ""
    async for message in sandbox.run_code_stream(code, working_dir=str(tmp_path), timeout=30):
        seen += message.get("data", "")
        if seen == "first\n":
            (tmp_path / "go").touch()
    assert seen == "first\nsecond\n"


async def test_python_that_stops_listening(agent, sandbox, tmp_path):
    """Leaving the loop closes the connection, and that ends the program."""
    stream = sandbox.run_code_stream("import time\nprint('up')\ntime.sleep(1000)", working_dir=str(tmp_path))
    async for message in stream:
        assert message["data"].startswith("up")
        break
    await stream.aclose()
    agent.wait_until_idle()


async def test_python_is_told_of_languages_that_are_unknown(sandbox):
    messages = await collect(sandbox, "1", language="cobol")
    assert [message["type"] for message in messages] == ["error", "complete"]


@needs_js_sdk[0]
@needs_js_sdk[1]
class TestJavaScript:
    def test_streams(self, agent, js, tmp_path):
        code = "import os, sys\nprint(os.environ['A'], os.getcwd())\nprint('err', file=sys.stderr)"
        options = {"env": {"A": "abc"}, "workingDir": str(tmp_path)}
        messages = js.call("runCodeStream", code=code, options=options)
        assert join(messages, "stdout") == f"abc {tmp_path}\n"
        assert join(messages, "stderr") == "err\n"
        expect_end(messages)
        messages = js.call("runCodeStream", code="exit 3", options={"language": "bash"})
        expect_end(messages, 3)
        messages = js.call("runCodeStream", code="while True: pass", options={"timeout": 1})
        expect_end(messages, 124)

    def test_what_cannot_be_started(self, js):
        messages = js.call("runCodeStream", code="1", options={"workingDir": "/no/such/dir"})
        assert [message["type"] for message in messages] == ["error", "complete"]
        assert "/no/such/dir" in messages[0]["message"]

    def test_unknown_languages(self, js):
        messages = js.call("runCodeStream", code="1", options={"language": "cobol"})
        assert [message["type"] for message in messages] == ["error", "complete"]

    def test_a_flood(self, js):
        messages = js.call("runCodeStream", code="print('x' * 20_000_000)")
        assert join(messages, "stdout") == "x" * 20_000_000 + "\n"
        expect_end(messages)

    def test_many_frames_many_times(self, js):
        """This client loses frames that it reads together, and waits for ever if the last one is lost."""
        runs = js.call("runCodeStreams", code=LINES, times=100, lanes=10)
        assert len(runs) == 100
        for run in runs:
            assert run["stdout"] == EXPECTED
            assert run["types"][-2:] == ["result", "complete"]
            assert run["types"].count("complete") == 1
        frames = sum(run["types"].count("stdout") for run in runs)
        # On a busy machine some lines share a frame.
        assert frames > 100 * FRAMES * 0.5, "the streams were to have many frames"
