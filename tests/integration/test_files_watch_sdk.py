# SPDX-License-Identifier: Apache-2.0
"""Watching files through the public clients, as their users do."""

import asyncio
import json
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hopx_ai import AsyncSandbox

from lib.file_watch import replay, root, scan  # noqa: F401 (fixture)
from lib.sdk import control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)
from lib.waiting import time_factor

DRIVER = Path(__file__).with_name("sdk_watch.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"
SOON = 2 * time_factor()

needs_javascript = pytest.mark.skipif(
    shutil.which("node") is None or not SDK.is_dir(), reason="no node, or no client: npm ci in tests/"
)


@pytest.fixture
async def async_sandbox(control_plane):
    sandbox = await AsyncSandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    yield sandbox
    if sandbox._agent_client:
        await sandbox._agent_client.close()
    await sandbox._client.close()


# Python


async def collect(sandbox, root, operate, is_enough):
    """What a user gets: begins to watch, does something, and stops when it is enough. Also the seconds from there."""
    messages = []
    started = None
    stream = sandbox.files.watch(str(root))
    async for message in stream:
        if message["event"] == "status":  # users index "event" without looking at the type
            operate()
            started = time.monotonic()
            continue
        messages.append(message)
        if is_enough(messages):
            break
    took = time.monotonic() - started
    await stream.aclose()
    return messages, took


async def check_one_write(sandbox, root):
    messages, took = await collect(
        sandbox, root, lambda: (root / "a").write_text("x"), lambda m: m[-1]["path"] == str(root / "a")
    )
    assert messages[-1]["type"] == "change" and messages[-1]["event"] in ("created", "modified")
    assert took < SOON


async def check_many(sandbox, root):
    def operate():
        for i in range(2000):
            (root / f"{i}").touch()

    messages, took = await collect(sandbox, root, operate, lambda m: len(m) == 2000)
    assert replay({}, messages) == scan(root)
    assert took < 5 * time_factor()


async def check_a_bad_path(sandbox, root):
    messages = [message async for message in sandbox.files.watch(str(root / "missing"))]
    assert [message["type"] for message in messages] == ["error"]
    assert messages[0]["code"] == "FILE_NOT_FOUND"
    messages = [message async for message in sandbox.files.watch("/etc")]
    assert [message["code"] for message in messages] == ["PATH_NOT_ALLOWED"]


@pytest.mark.parametrize("check", [check_one_write, check_many, check_a_bad_path])
async def test_python(sandbox, root, check):  # noqa: F811
    await check(sandbox, root)


@pytest.mark.parametrize("check", [check_one_write, check_many, check_a_bad_path])
async def test_python_async(async_sandbox, root, check):  # noqa: F811
    await check(async_sandbox, root)


async def test_python_two_at_once(sandbox, root):  # noqa: F811
    """Each gets what happens in its own directory, as in the public examples."""
    for name in "ab":
        (root / name).mkdir()
    first, second = await asyncio.gather(
        *(
            collect(
                sandbox,
                root / name,
                lambda name=name: [(root / name / f"{i}").touch() for i in range(10)],
                lambda m: len(m) == 10,
            )
            for name in "ab"
        )
    )
    assert {message["path"] for message in first[0]} == {str(root / "a" / f"{i}") for i in range(10)}
    assert {message["path"] for message in second[0]} == {str(root / "b" / f"{i}") for i in range(10)}


@pytest.mark.skipif(Path("/workspace").exists(), reason="/workspace is another directory here")
async def test_python_and_the_workspace(agent, sandbox):
    """The client's default is /workspace, wherever the workspace is."""
    stream = sandbox.files.watch()
    assert (await anext(stream))["path"] == str(agent.workspace)
    (agent.workspace / "a").touch()
    assert (await anext(stream))["path"] == str(agent.workspace / "a")
    await stream.aclose()


# JavaScript


class Client:
    """One node process that watches one path."""

    def __init__(self, control_plane, path):
        self.process = subprocess.Popen(
            ["node", str(DRIVER), control_plane.url, "sandbox-1", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout])
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0
        self.reader.join()
        self.process.stdout.close()

    def receive(self):
        return json.loads(self.lines.get(timeout=30 * time_factor()))


@needs_javascript
def test_javascript(control_plane, root):  # noqa: F811
    with Client(control_plane, root) as client:
        assert client.receive()["status"] == f"Watching {root}"
        for i in range(5):
            start = time.monotonic()
            (root / f"{i}").write_text("x")
            message = client.receive()
            while message["path"] != str(root / f"{i}"):  # the one before was "modified", too
                message = client.receive()
            assert message["type"] == "change" and message["event"] == "created"
            assert time.monotonic() - start < SOON


@needs_javascript
def test_javascript_misses_nothing(control_plane, root):  # noqa: F811
    """This client loses what comes together."""
    with Client(control_plane, root) as client:
        client.receive()
        for i in range(1000):
            (root / f"{i}").touch()
        messages = [client.receive() for _ in range(1000)]
        assert replay({}, messages) == scan(root)


@needs_javascript
def test_javascript_and_a_bad_path(control_plane, root):  # noqa: F811
    with Client(control_plane, root / "missing") as client:
        message = client.receive()
        assert message["type"] == "error" and message["code"] == "FILE_NOT_FOUND"
        assert "not found" in message["message"]
