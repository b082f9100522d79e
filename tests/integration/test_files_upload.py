# SPDX-License-Identifier: Apache-2.0
"""POST and PUT /files/upload: forms and raw bodies, complete and torn."""

import concurrent.futures
import hashlib
import json
import os
import pwd
import random
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import httpx
import pytest
from hopx_ai import Sandbox
from hopx_ai.errors import FileOperationError

from lib import procfs, tokens
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.files import ODD_NAMES
from lib.raw import RawConnection, head
from lib.sdk import control_plane, fresh_token_cache  # noqa: F401 (fixtures)
from lib.waiting import wait_until

MIB = 1024 * 1024
SIZES = (0, 1, 65535, 65536, 65537, 50 * MIB)
AUTHORIZATION = {"Authorization": f"Bearer {tokens.token()}"}
DRIVER = Path(__file__).with_name("sdk_files.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"
BOUNDARY = "--------------------------318243"
FORM = {**AUTHORIZATION, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def pattern(size, seed=b""):
    """Bytes that are the same nowhere."""
    return hashlib.shake_128(b"%d" % size + seed).digest(size)


def field(name, value):
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(content, filename="local.bin", name="file"):
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return start.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def form(agent, *parts):
    return agent.http.post("/files/upload", content=b"".join(parts) + END, headers=FORM)


def put(agent, path, content, **params):
    return agent.http.put("/files/upload", params={"path": str(path), **params}, content=content)


def expect_done(response, path, size):
    document = expect_json(response)
    assert document["success"] is True and document["message"]
    assert TIMESTAMP.match(document["timestamp"])
    assert (document["path"], document["size"]) == (str(path), size)
    assert document["files"], document
    return document


def names(directory):
    """With hidden ones: a temporary file would be seen."""
    return sorted(os.listdir(directory))


def expect_no_litter(agent):
    assert not [name for name in names(agent.workspace) if name.startswith(".")]


# Whole uploads


@pytest.mark.smoke
@pytest.mark.parametrize("file_first", [True, False])
def test_a_form(agent, space, file_first):
    parts = [file(b"content\r\n--" + BOUNDARY.encode()[:9]), field("path", space / "sub" / "file")]
    document = expect_done(form(agent, *(parts if file_first else parts[::-1])), space / "sub" / "file", 20)
    assert document["files"] == [{"name": "file", "path": f"{space}/sub/file", "size": 20, "created": True}]
    assert (space / "sub" / "file").read_bytes() == b"content\r\n-----------"
    assert stat.S_IMODE((space / "sub" / "file").stat().st_mode) == 0o644
    assert names(space / "sub") == ["file"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["path first", "file first", "raw", "chunked", "chunked form"])
def test_sizes(agent, space, size, way):
    content, path = pattern(size, way.encode()), space / "file"
    chunks = (content[at : at + 70_001] for at in range(0, size, 70_001))
    if way == "path first":
        response = form(agent, field("path", path), file(content))
    elif way == "file first":
        response = form(agent, file(content), field("path", path))
    elif way == "raw":
        response = put(agent, path, content)
    elif way == "chunked":
        response = put(agent, path, chunks)
    else:
        pieces = (piece for piece in (file(content), field("path", path), END))
        response = agent.http.post("/files/upload", content=pieces, headers=FORM)
    expect_done(response, path, size)
    assert path.read_bytes() == content
    assert names(space) == ["file"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(agent, space, name):
    path = space / name
    expect_done(form(agent, file(b"1"), field("path", path)), path, 1)
    assert path.read_bytes() == b"1"
    expect_done(form(agent, field("path", path), file(b"22")), path, 2)
    assert path.read_bytes() == b"22"
    expect_done(put(agent, path, b"333"), path, 3)
    assert path.read_bytes() == b"333"
    if "\t" in name:
        return  # the library writes %09, which browsers would not
    # As the library writes it into the headers of a part.
    expect_done(agent.http.post("/files/upload", files={"file": (name, b"4444")}, data={"path": f"{space}/d/"}),
                space / "d" / name, 4)  # fmt: skip
    assert (space / "d" / name).read_bytes() == b"4444"
    assert names(space) == sorted(["d", name]) and names(space / "d") == [name]


FILENAMES = {
    "plain.txt": "plain.txt",
    "../../etc/passwd": "passwd",
    "/etc/cron.d/x": "x",
    "a%22b%0D%0Ac": 'a"b\r\nc',
    "100%41.txt": "100%41.txt",
}


@pytest.mark.parametrize(("sent", "name"), FILENAMES.items())
def test_no_path(agent, sent, name):
    path = agent.workspace / name
    expect_done(form(agent, file(b"x", sent)), path, 1)
    assert path.read_bytes() == b"x"
    path.unlink()


def test_directories(agent, space):
    (space / "there").mkdir()
    (space / "link").symlink_to("there")
    expect_done(form(agent, file(b"1", "a"), field("path", space / "there")), space / "there" / "a", 1)
    expect_done(form(agent, field("path", space / "link"), file(b"2", "b")), space / "link" / "b", 1)
    expect_done(form(agent, field("path", f"{space}/new/"), file(b"3", "c")), space / "new" / "c", 1)
    assert names(space / "there") == ["a", "b"] and names(space / "new") == ["c"]
    for bad in ("", ".", "..", "a/.."):
        response = form(agent, field("path", space / "there"), file(b"x", bad))
        expect_error(response, 400, "INVALID_REQUEST", "/file")
    for path in (space / "there", f"{space}/none/"):
        expect_error(put(agent, path, b"x"), 400, "INVALID_PATH", "/path")
    relative = f"{space.name}/there/d"
    expect_done(form(agent, file(b"4", ""), field("path", relative)), relative, 1)
    assert names(space / "there") == ["a", "b", "d"]


def test_several_files(agent, space):
    files = [file(f"{number}".encode() * number, f"f{number}", "files[]") for number in range(20)]
    for path in (field("path", f"{space}/first/"), field("path", f"{space}/last/")):
        document = expect_json(form(agent, *([path] + files if b"first" in path else files + [path])))
        assert [entry["size"] for entry in document["files"]] == [len(str(n)) * n for n in range(20)]
        assert document["size"] == sum(len(str(n)) * n for n in range(20))
        directory = Path(document["path"])
        assert names(directory) == sorted(f"f{number}" for number in range(20))
        assert all((directory / f"f{n}").read_text() == str(n) * n for n in range(20))
    response = form(agent, field("path", space / "one"), *files)
    expect_error(response, 400, "INVALID_REQUEST", "/path")
    many = [file(b"x", f"{number}") for number in range(200)]
    expect_error(form(agent, *many, field("path", f"{space}/many/")), 400, "INVALID_REQUEST", "/path")
    assert names(space) == ["first", "last"]
    expect_no_litter(agent)
    assert len(expect_json(form(agent, field("path", f"{space}/many/"), *many))["files"]) == 200


def test_mode_and_overwrite(agent, space):
    path = space / "file"
    for parts in ([field("mode", "0751"), field("path", path), file(b"1")],
                  [field("path", path), file(b"2"), field("mode", "640")],
                  [file(b"3"), field("mode", "0600"), field("path", path)]):  # fmt: skip
        expect_done(form(agent, *parts), path, 1)
        wanted = next(part for part in parts if b'"mode"' in part).split(b"\r\n")[3]
        assert stat.S_IMODE(path.stat().st_mode) == int(wanted, 8)
    document = expect_done(form(agent, file(b"4"), field("path", path)), path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and document["files"][0]["created"] is False
    for parts in ([field("overwrite", "false"), field("path", path), file(b"5")],
                  [field("path", path), file(b"5"), field("overwrite", "false")],
                  [file(b"5"), field("path", path), field("overwrite", "false")]):  # fmt: skip
        document = expect_error(form(agent, *parts), 409, "FILE_ALREADY_EXISTS")
        assert document["path"] == str(path) and ".vm-agent" not in document["message"]
    expect_error(put(agent, path, b"5", overwrite="false"), 409, "FILE_ALREADY_EXISTS")
    assert path.read_bytes() == b"4" and names(space) == ["file"]
    expect_done(put(agent, space / "new", b"5", overwrite="false", mode="0700"), space / "new", 1)
    assert stat.S_IMODE((space / "new").stat().st_mode) == 0o700


def test_links_are_written_through(agent, space):
    (space / "real").write_text("old")
    (space / "link").symlink_to("real")
    (space / "dangling").symlink_to("made")
    for number, name in enumerate(("link", "dangling", "link")):
        first = number % 2
        parts = [field("path", space / name), file(b"%d" % number)]
        expect_done(form(agent, *parts[:: -1 if first else 1]), space / name, 1)
        assert (space / name).is_symlink()
    assert (space / "real").read_bytes() == b"2" and (space / "made").read_bytes() == b"1"


# Refusals


@pytest.mark.parametrize("where", ["/etc/upload-test", "out/file", "out/new/file"])
def test_escapes(agent, space, tmp_path, where):
    outside = Path("/var/lib")
    (space / "out").symlink_to(outside)
    before = names(outside)
    path = where if where[0] == "/" else space / where
    for response in (form(agent, field("path", path), file(b"x")),
                     form(agent, file(b"x"), field("path", path)),
                     put(agent, path, b"x")):  # fmt: skip
        document = expect_error(response, 403, "PATH_NOT_ALLOWED")
        assert document["path"] == str(path) == document["details"]["path"]
    assert names(outside) == before and not Path("/etc/upload-test").exists()
    assert names(space) == ["out"]
    expect_no_litter(agent)


def test_bad_requests(agent, space):
    path = space / "file"
    post = agent.http.post
    assert "multipart" in expect_error(post("/files/upload", json={}), 400, "INVALID_REQUEST")["message"]
    expect_error(post("/files/upload", content=b"x"), 400, "INVALID_REQUEST")
    no_boundary = {"Content-Type": "multipart/form-data"}
    expect_error(post("/files/upload", content=b"x", headers=no_boundary), 400, "INVALID_REQUEST")
    expect_error(form(agent), 400, "MISSING_PARAMETER", "/file")
    expect_error(form(agent, field("path", path)), 400, "MISSING_PARAMETER", "/file")
    expect_error(form(agent, field("path", path), field("file", "x")), 400, "INVALID_REQUEST", "/file")
    for parts, blamed in (
        ([field("mode", "9")], "/mode"),
        ([field("overwrite", "perhaps")], "/overwrite"),
        ([field("extract", "true")], "/extract"),
        ([field("path", space / "other")], "/path"),
        ([field("path", "a\0b")], "/path"),
    ):
        response = form(agent, field("path", path), file(b"x"), *parts)
        expect_error(response, 400, "INVALID_REQUEST", blamed)
    expect_error(agent.http.put("/files/upload", content=b"x"), 400, "MISSING_PARAMETER", "/path")
    expect_error(put(agent, path, b"x", mode="rw"), 400, "INVALID_REQUEST", "/mode")
    expect_error(form(agent, file(b"x"), field("path", space / ("a" * 256))), 400, "INVALID_PATH", "/path")
    expect_error(form(agent, file(b"x"), field("mode", "7" * 70_000)), 413, "PAYLOAD_TOO_LARGE")
    os.mkfifo(space / "fifo")
    expect_error(form(agent, file(b"x"), field("path", space / "fifo")), 400, "INVALID_PATH", "/path")
    assert names(space) == ["fifo"]
    expect_no_litter(agent)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_refusal_can_be_read_behind_a_large_body(agent, method):
    """The client sends all it has before it looks."""
    path = "/etc/upload-test"
    body = field("path", path) + file(pattern(16 * MIB)) + END if method == "POST" else pattern(16 * MIB)
    headers = {**FORM, "Content-Length": len(body)}
    with RawConnection(agent.port) as client:
        client.send(head(method, f"/files/upload{'' if method == 'POST' else '?path=' + path}", headers) + body)
        expect_error(client.read_response(), 403, "PATH_NOT_ALLOWED")


def test_a_refusal_comes_before_the_body(agent):
    headers = {**AUTHORIZATION, "Content-Length": 1 << 30, "Expect": "100-continue"}
    with RawConnection(agent.port) as client:
        client.send(head("PUT", "/files/upload?path=/etc/upload-test", headers))
        response = client.read_response()
        assert not response.interim
        expect_error(response, 403, "PATH_NOT_ALLOWED")


def test_too_large(new_agent):
    agent = new_agent(max_upload="1M")
    target = agent.workspace / "file"
    target.write_text("old")
    for content in (bytes(2 * MIB), iter([bytes(MIB), bytes(MIB)])):
        expect_error(put(agent, target, content), 413, "PAYLOAD_TOO_LARGE")
    agent.wait_until_idle()
    assert target.read_text() == "old" and names(agent.workspace) == ["file"]


# Slow, torn and stopped


def test_a_slow_client(agent, space):
    body = file(b"content") + field("path", space / "file") + END
    with RawConnection(agent.port) as client:
        client.send(head("POST", "/files/upload", {**FORM, "Content-Length": len(body)}))
        for byte in body:
            client.send(bytes([byte]))
        expect_done(client.read_response(), space / "file", 7)
    assert (space / "file").read_bytes() == b"content"


def test_cut_anywhere(agent, space):
    (space / "file").write_text("old")
    chance = random.Random(1)
    parts = [field("path", space / "file"), file(pattern(700_000)), field("mode", "0600")]
    for turn in range(60):
        chance.shuffle(parts)
        body = b"".join(parts) + END
        method, target = "POST", "/files/upload"
        if turn % 3 == 0:
            method, target, body = "PUT", f"/files/upload?path={space}/file", pattern(700_000)
        cut = chance.randrange(len(body) - len(END))
        with RawConnection(agent.port) as client:
            client.send(head(method, target, {**FORM, "Content-Length": len(body)}) + body[:cut])
            if turn % 2:
                client.reset()
    agent.wait_until_idle()
    assert (space / "file").read_text() == "old" and names(space) == ["file"]
    expect_no_litter(agent)


def test_nobody_waits_for_the_answer(agent, space):
    """Everything was sent: the new content, or the old one, but nothing else."""
    old, new = pattern(400_000, b"old"), pattern(500_000)
    for turn in range(30):
        (space / "file").write_bytes(old)
        parts = [field("path", space / "file"), file(new)]
        body = b"".join(parts[:: -1 if turn % 2 else 1]) + END
        with RawConnection(agent.port) as client:
            client.send(head("POST", "/files/upload", {**FORM, "Content-Length": len(body)}) + body)
            client.reset()
        agent.wait_until_idle()
        assert (space / "file").read_bytes() in (old, new) and names(space) == ["file"]
    expect_no_litter(agent)


def test_a_body_that_ends_early(agent, space):
    """As far as HTTP goes it is complete."""
    (space / "file").write_text("old")
    whole = field("path", space / "file") + file(b"new content") + END
    for size in range(0, len(whole) - 4):
        response = agent.http.post("/files/upload", content=whole[:size], headers=FORM)
        expect_error(response, 400, "INVALID_REQUEST")
    assert (space / "file").read_text() == "old" and names(space) == ["file"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_agent_stops(new_agent, method):
    agent = new_agent(shutdown_grace="100ms")
    target = agent.workspace / "file"
    target.write_text("old")
    part = file(bytes(MIB))[:-2]
    with RawConnection(agent.port) as client:
        path = f"/files/upload?path={target}" if method == "PUT" else "/files/upload"
        client.send(head(method, path, {**FORM, "Content-Length": 1 << 30}) + part)
        wait_until(lambda: len(names(agent.workspace)) == 2, "a temporary file")
        agent.signal(signal.SIGTERM)
        assert agent.wait_for_exit(timeout=10) == 0
    assert target.read_text() == "old" and names(agent.workspace) == ["file"]


def test_many_at_once(agent, space):
    def upload(number):
        content = pattern(300_000 + number)
        with httpx.Client(base_url=agent.url, headers=AUTHORIZATION, timeout=60) as client:
            files, data = {"file": ("x", content)}, {"path": f"{space}/{number % 20}"}
            return client.post("/files/upload", files=files, data=data).status_code

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert set(pool.map(upload, range(80))) == {200}
    assert names(space) == sorted(str(number) for number in range(20))
    for number in range(20):
        content = (space / str(number)).read_bytes()
        assert content == pattern(len(content))


@pytest.mark.plain_build
@pytest.mark.parametrize("way", ["form", "raw"])
def test_memory_stays_flat(agent, space, way):
    piece, n = bytes(MIB), 500
    content = [piece] * n

    put(agent, space / "warm", iter(content[:8])).raise_for_status()
    before = procfs.status_kib(agent.pid, "VmHWM")
    if way == "raw":
        response = put(agent, space / "file", iter(content))
    else:
        start, end = file(b"|").split(b"|")
        pieces = iter([start, *content, end, field("path", space / "file"), END])
        response = agent.http.post("/files/upload", content=pieces, headers=FORM)
    expect_done(response, space / "file", n * MIB)
    assert procfs.status_kib(agent.pid, "VmHWM") - before < 4096
    (space / "file").unlink()


# Disks and users


@pytest.fixture
def small_disk(agent, space):
    directory = space / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", directory]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no right to mount")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk(agent, space, small_disk):
    target = small_disk / "file"
    target.write_text("old")
    content = pattern(8 * MIB)
    for upload in (lambda: form(agent, field("path", target), file(content)),
                   lambda: form(agent, file(content), field("path", target)),
                   lambda: put(agent, target, content)):  # fmt: skip
        document = expect_error(upload(), 507, "NO_SPACE")
        assert document["path"] == str(target) and ".vm-agent" not in document["message"]
        assert target.read_text() == "old" and names(small_disk) == ["file"]
    expect_no_litter(agent)
    # From one file system to another.
    expect_done(form(agent, file(content[:MIB]), field("path", target)), target, MIB)
    assert target.read_bytes() == content[:MIB] and names(small_disk) == ["file"]


@needs_root
def test_files_belong_to_the_user(new_agent):
    agent = new_agent(run_as="nobody")
    user = pwd.getpwnam("nobody")
    os.chown(agent.workspace, user.pw_uid, user.pw_gid)
    closed = agent.workspace / "closed"
    closed.mkdir(mode=0o755)  # root's
    path = agent.workspace / "sub" / "file"
    for upload in (lambda: form(agent, file(b"x"), field("path", path)),
                   lambda: form(agent, field("path", path), file(b"x")),
                   lambda: put(agent, path, b"x")):  # fmt: skip
        expect_done(upload(), path, 1)
        for made in (path, path.parent):
            assert (made.stat().st_uid, made.stat().st_gid) == (user.pw_uid, user.pw_gid)
        shutil.rmtree(path.parent)
    for upload in (lambda: form(agent, file(b"x"), field("path", closed / "file")),
                   lambda: form(agent, field("path", closed / "file"), file(b"x")),
                   lambda: put(agent, closed / "file", b"x")):  # fmt: skip
        expect_error(upload(), 403, "PERMISSION_DENIED")
    assert names(closed) == [] and names(agent.workspace) == ["closed"]


# The public clients


def test_python_client(agent, space, tmp_path):
    sandbox = Sandbox.debug(agent.url, tokens.token())
    for size in SIZES[:-1]:
        (tmp_path / "local").write_bytes(pattern(size))
        sandbox.files.upload(str(tmp_path / "local"), f"{space}/{size}")
        assert (space / str(size)).read_bytes() == pattern(size)
    for name in ODD_NAMES:
        sandbox.files.upload(str(tmp_path / "local"), f"{space}/odd/{name}")
    assert names(space / "odd") == sorted(ODD_NAMES)
    with pytest.raises(FileOperationError) as caught:
        sandbox.files.upload(str(tmp_path / "local"), "/etc/upload-test")
    assert caught.value.code == "PATH_NOT_ALLOWED"
    sandbox._agent_client.close()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
def test_javascript_client(space, tmp_path, control_plane):
    calls = []
    for size in SIZES[:-1]:
        (tmp_path / str(size)).write_bytes(pattern(size))
        calls.append([str(tmp_path / str(size)), f"{space}/{size}"])
    calls += [[str(tmp_path / "65537"), f"{space}/odd/{name}"] for name in ODD_NAMES]
    calls.append([str(tmp_path / "1"), "/etc/upload-test"])
    text = "".join(json.dumps({"call": "upload", "arguments": call}) + "\n" for call in calls)
    command = ["node", str(DRIVER), control_plane.url, "sandbox-1"]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(calls) and not any("error" in answer for answer in answers[:-1]), answers
    assert answers[-1]["error"]["code"] == "PATH_NOT_ALLOWED"
    assert all((space / str(size)).read_bytes() == pattern(size) for size in SIZES[:-1])
    assert names(space / "odd") == sorted(ODD_NAMES)
