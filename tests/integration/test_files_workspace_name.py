# SPDX-License-Identifier: Apache-2.0
"""/workspace, which the public clients name by default: without such a directory it means the agent's workspace."""

import io
import json
import tarfile

import pytest
from hopx_ai import Sandbox

from lib import mounts, tokens
from lib.expect import expect_error, expect_json, expect_result
from lib.file_watch import Watcher
from lib.files import get, listing, names, post, read, remove, write
from lib.jobs import job_of, start, wait_for_end

NAME = "/workspace"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    mounts.may_mount()
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="module")
def agent(directory):
    agent = mounts.AgentWithout(directory, "workspace")
    yield agent
    agent.close()


@pytest.fixture
def files(agent):
    sandbox = Sandbox.debug(agent.url, tokens.token())
    yield sandbox.files
    sandbox._agent_client.close()


def archive(name, content):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def test_the_public_client(agent, files):
    files.write(f"{NAME}/sub/hello.txt", "hello")
    assert (agent.workspace / "sub" / "hello.txt").read_text() == "hello"
    assert files.read(f"{NAME}/sub/hello.txt") == "hello"
    assert "sub" in [entry.name for entry in files.list()]
    assert files.exists(f"{NAME}/sub/hello.txt") and not files.exists(f"{NAME}/none")
    files.remove(f"{NAME}/sub/hello.txt")
    assert list((agent.workspace / "sub").iterdir()) == []


def test_every_verb(agent):
    expect_json(post(agent, "mkdir", path=f"{NAME}/verbs"))
    write(agent, f"{NAME}/verbs/a", "text")
    assert (agent.workspace / "verbs" / "a").read_text() == "text"
    assert read(agent, f"{NAME}//verbs/a")["content"] == "text"
    assert expect_json(get(agent, "exists", f"{NAME}/verbs/a"))["exists"] is True
    expect_json(post(agent, "copy", source=f"{NAME}/verbs/a", destination=f"{NAME}/verbs/b"))
    expect_json(post(agent, "move", source=f"{NAME}/verbs/b", destination=f"{NAME}/verbs/c"))
    found = expect_json(get(agent, "search", f"{NAME}/verbs", pattern="text"))
    assert f"{NAME}/verbs/a" in json.dumps(found)
    document = listing(agent, f"{NAME}/verbs")
    assert names(document) == ["a", "c"]
    assert [entry["path"] for entry in document["files"]] == [f"{NAME}/verbs/a", f"{NAME}/verbs/c"]
    expect_json(remove(agent, f"{NAME}/verbs/c"))
    assert names(listing(agent, NAME + "/verbs/")) == ["a"]


def test_transport(agent):
    url = {"path": f"{NAME}/up/file"}
    expect_json(agent.http.put("/files/upload", params=url, content=b"put"))
    assert (agent.workspace / "up" / "file").read_bytes() == b"put"
    for _ in range(2):  # at first by a worker, then maybe without one
        assert get(agent, "download", f"{NAME}/up/file").content == b"put"
    form = {"file": ("form", b"post")}
    expect_json(agent.http.post("/files/upload", params={"path": f"{NAME}/up/"}, files=form))
    assert (agent.workspace / "up" / "form").read_bytes() == b"post"
    params = {"path": f"{NAME}/tree", "extract": "true"}
    expect_json(agent.http.put("/files/upload", params=params, content=archive("d/f", b"packed")))
    assert (agent.workspace / "tree" / "d" / "f").read_bytes() == b"packed"
    tree = get(agent, "download", f"{NAME}/tree", format="tar")
    assert tree.status_code == 200
    assert b"packed" in tree.content


def test_batch(agent):
    items = [{"path": f"{NAME}/batch/{i}", "content": str(i)} for i in range(3)]
    expect_json(post(agent, "batch", files=items))
    assert (agent.workspace / "batch" / "2").read_text() == "2"


@pytest.mark.parametrize("path", [NAME, f"{NAME}/watched"])
def test_watch(agent, path):
    """Told are the paths as the client has spelled them."""
    (agent.workspace / "watched").mkdir(exist_ok=True)
    with Watcher(agent, path) as watcher:
        (agent.workspace / "watched" / f"new-{len(path)}").touch()
        watcher.read_until("created", f"{NAME}/watched/new-{len(path)}")
        watcher.unwatch(path)


def test_executions_agree(agent):
    (agent.workspace / "work").mkdir()
    assert expect_result(agent.run("pwd", workdir=f"{NAME}/work"))["stdout"] == f"{agent.workspace}/work\n"
    job = start(agent, "pwd", workdir=NAME)
    wait_for_end(agent, job["process_id"])
    assert job_of(agent, job["process_id"])["stdout"] == f"{agent.workspace}\n"


def test_what_is_not_meant(agent):
    for path in ("/workspaces", "/workspace2/x", f"{NAME}/../../../../../etc/passwd", "/x/workspace"):
        expect_error(get(agent, "read", path), 403, "PATH_NOT_ALLOWED")


def test_a_directory_that_is_there(tmp_path):
    """Then it means itself, whether it is allowed or not."""
    mounts.may_mount()
    agent = mounts.AgentWithout(tmp_path, "workspace", allowed_path=["/"])
    try:
        write(agent, f"{NAME}/a", "1")
        assert (agent.workspace / "a").read_text() == "1"
        inside = mounts.inside(agent, NAME)
        inside.mkdir()
        write(agent, f"{NAME}/b", "2")
        assert (inside / "b").read_text() == "2" and not (agent.workspace / "b").exists()
        assert get(agent, "download", f"{NAME}/b").content == b"2"
    finally:
        agent.close()


def test_a_directory_that_the_operator_has_allowed(tmp_path):
    mounts.may_mount()
    agent = mounts.AgentWithout(tmp_path, "workspace", allowed_path=[NAME])
    try:
        write(agent, f"{NAME}/a", "1")
        assert (mounts.inside(agent, NAME) / "a").read_text() == "1"
    finally:
        agent.close()
