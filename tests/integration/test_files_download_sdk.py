# SPDX-License-Identifier: Apache-2.0
"""Downloads by the public clients: synchronous and asynchronous Python, and JavaScript."""

import base64
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hopx_ai.errors import FileNotFoundError as NoSuchFile
from hopx_ai.errors import HopxError

from lib.files import ODD_NAMES
from lib.sdk import async_sandbox, control_plane, debug_sandbox, fresh_token_cache  # noqa: F401 (fixtures)

DRIVER = Path(__file__).with_name("sdk_files.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"

# Small ones are read by the agent, large ones sent by the kernel. None of them looks like base64.
CONTENTS = {
    "text": "Grüße\n".encode(),
    "bytes": bytes(range(256)),
    "empty": b"",
    "large": bytes(range(256)) * 4000,
}

# The asynchronous client puts paths into URLs as they are: these say something else there.
SPOILT_IN_URLS = {"50%25", "%2e%2e", "a#b", "a&b=c"}


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    for name, content in CONTENTS.items():
        (directory / name).write_bytes(content)
    return directory


def test_download(debug_sandbox, space, tmp_path):
    for name, content in CONTENTS.items():
        debug_sandbox.files.download(f"{space}/{name}", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == content
        assert debug_sandbox.files.read_bytes(f"{space}/{name}") == content


def test_a_directory(debug_sandbox, space, tmp_path):
    debug_sandbox.files.download(str(space), str(tmp_path / "space.tar"))
    with tarfile.open(tmp_path / "space.tar") as archive:
        for name, content in CONTENTS.items():
            assert archive.extractfile(f"{space.name}/{name}").read() == content


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(debug_sandbox, space, tmp_path, name):
    (space / name).write_bytes(b"!" + name.encode())
    debug_sandbox.files.download(f"{space}/{name}", str(tmp_path / "local"))
    assert (tmp_path / "local").read_bytes() == b"!" + name.encode()


def test_errors(debug_sandbox, space, tmp_path):
    with pytest.raises(NoSuchFile) as caught:
        debug_sandbox.files.download(f"{space}/none", str(tmp_path / "local"))
    assert caught.value.code == "FILE_NOT_FOUND" and f"{space}/none" in str(caught.value)
    with pytest.raises(HopxError) as caught:
        debug_sandbox.files.download("/etc/shadow", str(tmp_path / "local"))
    assert caught.value.code == "PATH_NOT_ALLOWED"
    assert not (tmp_path / "local").exists()


async def test_async(async_sandbox, space):
    for name, content in CONTENTS.items():
        assert await async_sandbox.files.read_bytes(f"{space}/{name}") == content
    with pytest.raises(NoSuchFile):
        await async_sandbox.files.read_bytes(f"{space}/none")


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name not in SPOILT_IN_URLS and name.isprintable()])
async def test_async_odd_names(async_sandbox, space, name):
    (space / name).write_bytes(b"!" + name.encode())
    assert await async_sandbox.files.read_bytes(f"{space}/{name}") == b"!" + name.encode()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
def test_javascript(control_plane, space):
    expected = dict(CONTENTS)
    for name in ODD_NAMES:
        expected[name] = name.encode()
        (space / name).write_bytes(expected[name])
    calls = [(call, name) for call in ("download", "readBytes") for name in [*expected, "none"]]
    lines = [json.dumps({"call": call, "arguments": [f"{space}/{name}"]}) for call, name in calls]
    done = subprocess.run(
        ["node", str(DRIVER), control_plane.url, "sandbox-1"],
        input="\n".join(lines) + "\n",
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == len(calls)
    for (_, name), answer in zip(calls, answers, strict=True):
        if name == "none":
            # This client cannot read an error when it wants bytes.
            assert answer["error"]["statusCode"] == 404 or "404" in answer["error"]["message"], answer
        else:
            assert base64.b64decode(answer["value"]["base64"]) == expected[name], name
