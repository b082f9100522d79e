# SPDX-License-Identifier: Apache-2.0
"""Terminals through the public clients, as their users use them, and through the libraries below them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import websockets
import websockets.sync.client
from hopx_ai import AsyncSandbox

from lib import tokens
from lib.sdk import control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)
from lib.waiting import time_factor, wait_until
from lib.ws_raw import plain_home  # noqa: F401 (it is for all tests here)

DRIVER = Path(__file__).with_name("sdk_terminal.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"

needs_javascript = pytest.mark.skipif(
    shutil.which("node") is None or not SDK.is_dir(), reason="no node, or no client: npm ci in tests/"
)


def output_of(messages):
    """The output, which must be complete: each message begins where the one before ended."""
    end, text = None, ""
    for message in messages:
        if message["type"] == "output":
            assert end is None or message["offset"] == end, messages
            end = message["end"]
            text += message["data"]
    return text.replace("\r\n", "\n")


# Python


async def use(terminal):
    """What both kinds of client can do."""
    messages = []
    async with await terminal.connect() as ws:
        await terminal.resize(ws, cols=111, rows=33)
        await terminal.send_input(ws, "stty size; echo he''llo €\n")
        async for message in terminal.iter_output(ws):
            messages.append(message)
            if "hello €" in output_of(messages):
                break
        await terminal.send_input(ws, "exit 3\n")
        async for message in terminal.iter_output(ws):
            messages.append(message)
            if message["type"] == "exit":
                break
    assert "33 111\nhello €\n" in output_of(messages)
    assert messages[-1]["code"] == messages[-1]["exitCode"] == 3
    return ws


async def test_python(sandbox):
    ws = await use(sandbox.terminal)
    assert ws.close_code == 1000


async def test_python_async(control_plane):
    sandbox = await AsyncSandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    ws = await use(sandbox.terminal)
    assert ws.close_code == 1000
    if sandbox._agent_client:
        await sandbox._agent_client.close()
    await sandbox._client.close()


async def test_python_to_the_end(sandbox):
    """Without looking for the exit message: the iterator ends by itself."""
    ws = await sandbox.terminal.connect()
    await sandbox.terminal.send_input(ws, "exit\n")
    messages = [message async for message in sandbox.terminal.iter_output(ws)]
    assert messages[-1]["type"] == "exit" and messages[-1]["code"] == 0


async def test_python_flood(sandbox):
    """Frames that the client's limit of 1 MiB lets pass."""
    ws = await sandbox.terminal.connect()
    await sandbox.terminal.send_input(ws, "seq 500000; exit\n")
    messages = [message async for message in sandbox.terminal.iter_output(ws)]
    assert messages[-1]["type"] == "exit"
    assert "".join(f"{i}\n" for i in range(1, 500001)) in output_of(messages)


def test_websockets_pings(agent):
    """The library's keep-alive is answered, while output comes and while nothing does."""
    url = f"ws://127.0.0.1:{agent.port}/terminal?command="
    for command in ("cat", "yes%20%7C%20head%20-c%205000000%3B%20sleep%201000"):
        with websockets.sync.client.connect(
            url + command, additional_headers=tokens.bearer(tokens.token()), ping_interval=None
        ) as ws:
            for _ in range(5):
                assert ws.ping().wait(10 * time_factor())
    wait_until(lambda: agent.gauges()["websockets"] == 0, "the end of all")


async def test_websockets_compression_is_declined(agent):
    """It is offered by default, and nothing breaks without it."""
    url = f"ws://127.0.0.1:{agent.port}/terminal?command=echo%20hi"
    async with websockets.connect(url, additional_headers=tokens.bearer(tokens.token())) as ws:
        assert ws.protocol.extensions == []
        assert json.loads(await ws.recv())["data"] == "hi\r\n"


async def test_websockets_refusals(agent):
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with websockets.connect(f"ws://127.0.0.1:{agent.port}/terminal"):
            pass
    assert caught.value.response.status_code == 401


# JavaScript


def javascript(control_plane, inputs, wait=0, times=1):
    done = subprocess.run(
        ["node", str(DRIVER), control_plane.url, "sandbox-1"],
        input=json.dumps({"inputs": inputs, "wait": wait, "times": times}),
        capture_output=True,
        text=True,
        timeout=60 * time_factor(),
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == times
    return found


@needs_javascript
def test_javascript(control_plane):
    inputs = [{"cols": 101, "rows": 31}, "stty size; echo he''llo €\r", "exit 3\r"]
    (messages,) = javascript(control_plane, inputs)
    assert "31 101\nhello €\n" in output_of(messages)
    assert messages[-1]["type"] == "exit" and messages[-1]["code"] == 3


@needs_javascript
def test_javascript_misses_nothing(control_plane):
    """This client loses frames that it reads together: with input in quick succession, and its answers, and floods."""
    inputs = [f"echo {i}''{i}\r" for i in range(30)] + ["seq 3000\r", "exit\r"]
    for messages in javascript(control_plane, inputs, times=15):
        output = output_of(messages)
        assert "".join(f"{i}\n" for i in range(1, 3001)) in output
        assert "2929\n" in output
        assert messages[-1]["type"] == "exit"


@needs_javascript
def test_javascript_typing(control_plane):
    """Key by key, each echoed."""
    keys = list("for i in 1 2 3; do echo key-$i; done\r")
    for messages in javascript(control_plane, [*keys, "exit 5\r"], wait=2, times=5):
        assert "key-1\nkey-2\nkey-3\n" in output_of(messages)
        assert messages[-1]["code"] == 5


@needs_javascript
def test_javascript_short_lives(control_plane):
    """The end comes right behind the beginning."""
    for messages in javascript(control_plane, ["exit\r"], times=20):
        output_of(messages)
        assert messages[-1]["type"] == "exit" and messages[-1]["code"] == 0
