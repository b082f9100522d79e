# SPDX-License-Identifier: Apache-2.0
"""Files as the users of the public clients know them: synchronous and asynchronous Python, and JavaScript."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hopx_ai import AsyncSandbox, Sandbox
from hopx_ai.errors import FileNotFoundError as NoSuchFile
from hopx_ai.errors import FileOperationError

from lib import tokens
from lib.files import ODD_NAMES
from lib.sdk import control_plane, fresh_token_cache  # noqa: F401 (fixtures)

DRIVER = Path(__file__).with_name("sdk_files.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"

# The asynchronous client puts paths into URLs as they are: these say something else there.
SPOILT_IN_URLS = {"50%25", "%2e%2e", "a#b", "a&b=c"}


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.fixture
def files(agent):
    sandbox = Sandbox.debug(agent.url, tokens.token())
    yield sandbox.files
    sandbox._agent_client.close()


@pytest.fixture
async def async_files(control_plane):
    sandbox = await AsyncSandbox.connect("sandbox-1", api_key="key", base_url=control_plane.url)
    yield sandbox.files
    if sandbox._agent_client:
        await sandbox._agent_client.close()
    await sandbox._client.close()


# The synchronous client


def test_text(files, space):
    files.write(f"{space}/sub/hello.txt", "Grüße\n")
    assert files.read(f"{space}/sub/hello.txt") == "Grüße\n"
    assert files.exists(f"{space}/sub/hello.txt") and not files.exists(f"{space}/none")
    files.write(f"{space}/empty", "")
    assert files.read(f"{space}/empty") == ""
    files.write(f"{space}/script", "#!/bin/sh\n", mode="0755")
    assert (space / "script").stat().st_mode & 0o777 == 0o755
    files.write_bytes(f"{space}/bytes", bytes(range(256)))
    assert (space / "bytes").read_bytes() == bytes(range(256))


def test_directories(files, space):
    files.mkdir(f"{space}/a/b")
    files.mkdir(f"{space}/a/b")
    files.write(f"{space}/a/file", "12345")
    by_name = {info.name: info for info in files.list(f"{space}/a")}
    assert set(by_name) == {"b", "file"}
    assert by_name["b"].is_directory and not by_name["file"].is_directory
    assert (by_name["file"].size, by_name["file"].path) == (5, f"{space}/a/file")
    assert by_name["file"].modified_time.timestamp() == pytest.approx((space / "a/file").stat().st_mtime, abs=0.01)
    assert by_name["file"].permissions == "-rw-r--r--"
    files.remove(f"{space}/a")
    assert not (space / "a").exists() and files.list(str(space)) == []


def test_errors(files, space):
    for call in (files.read, files.list, files.remove):
        with pytest.raises((NoSuchFile, FileOperationError)) as caught:
            call(f"{space}/none")
        assert caught.value.code in ("FILE_NOT_FOUND", "DIRECTORY_NOT_FOUND")
    with pytest.raises(NoSuchFile):
        files.read(f"{space}/none")
    for path in ("/etc/shadow", f"{space}/../../../../etc/shadow"):
        with pytest.raises(FileOperationError) as caught:
            files.read(path)
        assert caught.value.code == "PATH_NOT_ALLOWED"
    assert not files.exists("/etc/shadow")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(files, space, name):
    path = f"{space}/{name}"
    files.write(path, name)
    assert files.read(path) == name and files.exists(path)
    assert [info.name for info in files.list(str(space))] == [name]
    files.remove(path)
    assert not files.exists(path)


# The asynchronous client


async def test_async(async_files, space):
    await async_files.mkdir(f"{space}/a")
    await async_files.write(f"{space}/a/file", "Grüße\n")
    assert await async_files.read(f"{space}/a/file") == "Grüße\n"
    await async_files.write_bytes(f"{space}/a/bytes", b"\0\xff")
    assert (space / "a/bytes").read_bytes() == b"\0\xff"
    infos = await async_files.list(f"{space}/a")
    assert sorted((info.name, info.size, info.is_directory) for info in infos) == [
        ("bytes", 2, False), ("file", 8, False),
    ]  # fmt: skip
    assert await async_files.exists(f"{space}/a") and not await async_files.exists(f"{space}/b")
    await async_files.remove(f"{space}/a")
    assert not (space / "a").exists()
    with pytest.raises(NoSuchFile):
        await async_files.read(f"{space}/a/file")


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if name not in SPOILT_IN_URLS])
async def test_async_odd_names(async_files, space, name):
    if not name.isprintable():
        pytest.skip("no URL has this")
    path = f"{space}/{name}"
    await async_files.write(path, name)
    assert await async_files.exists(path)
    assert await async_files.read(path) == name
    assert [info.name for info in await async_files.list(str(space))] == [name]


# The JavaScript client


class ClientError(Exception):
    def __init__(self, fields):
        super().__init__(fields["message"])
        self.fields = fields


class Client:
    """One node process with one sandbox object."""

    def __init__(self, control_plane):
        self.process = subprocess.Popen(
            ["node", str(DRIVER), control_plane.url, "sandbox-1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name, *arguments):
        arguments = [
            {"base64": base64.b64encode(item).decode()} if isinstance(item, bytes) else item for item in arguments
        ]
        self.process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer.get("value")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
class TestJavaScript:
    @pytest.fixture
    def js(self, control_plane):
        client = Client(control_plane)
        yield client
        client.close()

    def test_files(self, js, space):
        js.call("mkdir", f"{space}/a/b")
        js.call("write", f"{space}/a/file", "Grüße\n")
        assert js.call("read", f"{space}/a/file") == "Grüße\n"
        js.call("writeBytes", f"{space}/a/bytes", b"\0\xff")
        assert (space / "a/bytes").read_bytes() == b"\0\xff"
        rows = {row["name"]: row for row in js.call("list", f"{space}/a")}
        assert set(rows) == {"b", "bytes", "file"}
        assert rows["b"]["isDir"] is True and rows["file"]["isDir"] is False
        assert (rows["file"]["size"], rows["file"]["path"]) == (8, f"{space}/a/file")
        assert rows["file"]["modified"].endswith("Z") and rows["file"]["permissions"] == "-rw-r--r--"
        assert js.call("exists", f"{space}/a") is True and js.call("exists", f"{space}/none") is False
        js.call("remove", f"{space}/a")
        assert not (space / "a").exists()

    def test_errors(self, js, space):
        with pytest.raises(ClientError) as caught:
            js.call("read", f"{space}/none")
        fields = caught.value.fields
        assert (fields["name"], fields["code"]) == ("FileNotFoundError", "FILE_NOT_FOUND")
        assert f"{space}/none" in fields["message"] and fields["path"] == f"{space}/none"
        with pytest.raises(ClientError) as caught:
            js.call("read", "/etc/shadow")
        assert caught.value.fields["code"] == "PATH_NOT_ALLOWED"
        assert js.call("exists", "/etc/shadow") is False

    def test_odd_names(self, js, space):
        for name in ODD_NAMES:
            path = f"{space}/{name}"
            js.call("write", path, name)
            assert js.call("read", path) == name and js.call("exists", path) is True
        assert sorted(row["name"] for row in js.call("list", str(space))) == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            js.call("remove", f"{space}/{name}")
        assert js.call("list", str(space)) == []
