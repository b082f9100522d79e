# SPDX-License-Identifier: Apache-2.0
"""What is said when an operation on files is refused: which entry it is about, what is missing, and what would do."""

import os
import pwd
import shutil

import pytest

from lib.agent import Agent
from lib.expect import expect_error
from lib.files import get, post, remove

CRLF = "one\r\ntwo  three\r\n"


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def users_agent():
    """One that acts as a user without rights."""
    if os.getuid() != 0:
        pytest.skip("only root can act as somebody else")
    agent = Agent(run_as="nobody")
    yield agent
    agent.close()


@pytest.fixture
def tree(users_agent, tmp_path_factory):
    """Of the user, but for tree/b/locked, which cannot be changed, and tree/c, which cannot be read."""
    tree = users_agent.workspace / tmp_path_factory.mktemp("space").name / "tree"
    (tree / "b" / "locked").mkdir(parents=True)
    (tree / "a").touch()
    (tree / "b" / "locked" / "x").touch()
    (tree / "c").touch(mode=0o600)
    user = pwd.getpwnam("nobody")
    for path in (tree.parent, tree, tree / "a", tree / "b"):
        os.chown(path, user.pw_uid, user.pw_gid)
    return tree


def test_a_removal_names_what_stays(users_agent, tree):
    document = expect_error(remove(users_agent, f"{tree}/"), 403, "PERMISSION_DENIED")
    assert f"Permission denied: {tree}/b/locked/x" in document["message"]
    assert "(others are gone already: 2)" in document["message"]
    assert (document["path"], document["details"]["entry"]) == (f"{tree}/", "b/locked/x")
    assert sorted(os.listdir(tree)) == ["b"]


def test_a_removal_that_changes_nothing(users_agent, tree):
    (tree / "a").unlink()
    (tree / "c").unlink()
    document = expect_error(remove(users_agent, tree), 403, "PERMISSION_DENIED")
    assert document["message"] == f"Permission denied: {tree}/b/locked/x"
    (tree / "b" / "locked" / "x").unlink()
    shutil.rmtree(tree / "b")
    shutil.chown(tree.parent, "root")
    document = expect_error(remove(users_agent, tree), 403, "PERMISSION_DENIED")
    assert document["message"] == f"Permission denied: {tree}" and "entry" not in document["details"]


def test_a_copy_names_what_cannot_be_read(users_agent, tree):
    """Also where the entry's name ends as the new place's does."""
    relative = os.path.relpath(tree, users_agent.workspace)
    for to in (f"{tree}2", f"{os.path.dirname(relative)}/c"):
        document = expect_error(post(users_agent, "copy", **{"from": relative, "to": to}), 403, "PERMISSION_DENIED")
        assert document["message"] == f"Permission denied: {relative}/c"
        assert (document["path"], document["details"]["entry"]) == (relative, "c")


def test_what_cannot_be_moved_or_copied(agent, space):
    (space / "d" / "e").mkdir(parents=True)
    (space / "f").touch()
    rows = [
        ("move", "d", "d/e/x", "A directory cannot be moved into itself"),
        ("copy", "d", "d/e/x", "A directory cannot be copied into itself"),
        ("copy", "d", "./d", "A directory cannot be copied into itself"),
        ("copy", "f", "./f", "A file cannot be copied onto itself"),
        ("copy", "f", "new/", "There is no such directory"),
    ]
    for verb, source, target, words in rows:
        body = {"from": str(space / source), "to": f"{space}/{target}", "overwrite": True}
        document = expect_error(post(agent, verb, **body), 400, "INVALID_PATH", "/to")
        assert document["message"].startswith(words) and document["message"].endswith(f": {space}/{target}")
        assert document["path"] == f"{space}/{target}"


def test_allowed_directories(new_agent, tmp_path):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    agent = new_agent(allowed_path=[tmp_path / "outer", tmp_path / "outer" / "inner"])
    for path in (".", str(agent.workspace), str(tmp_path / "outer"), f"{tmp_path}/outer/inner/"):
        for response in (remove(agent, path), post(agent, "move", **{"from": path, "to": "x"})):
            document = expect_error(response, 403, "PATH_NOT_ALLOWED")
            assert document["message"] == f"An allowed directory itself cannot be removed or moved: {path}"
            assert document["path"] == path
    document = expect_error(remove(agent, "/etc"), 403, "PATH_NOT_ALLOWED")
    assert document["message"] == "Path is outside the allowed directories: /etc"


def test_the_root_and_what_holds_the_workspace(new_agent):
    agent = new_agent(allowed_path="/")
    above = str(agent.workspace.parent)
    for path, words in [("/", "The root directory cannot"), (above, "There is an allowed directory in it")]:
        for response in (remove(agent, path), post(agent, "move", **{"from": path, "to": "x"})):
            assert response.status_code in (400, 403)
            assert response.json()["message"].startswith(words), response.text
    (agent.workspace / "d" / "e").mkdir(parents=True)
    document = expect_error(remove(agent, "d/e/.."), 400, "INVALID_PATH", "/path")
    assert document["message"] == "The path has to end with the name that is meant: d/e/.."


def test_the_directory_that_is_missing(agent, space):
    (space / "there").touch()
    path = f"{space}/x//y/z"
    source = {"from": str(space / "there"), "to": path, "parents": False}
    for verb, body in [
        ("write", {"path": path, "content": "", "parents": False}),
        ("mkdir", {"path": path, "parents": False}),
        ("copy", source),
        ("move", source),
    ]:
        document = expect_error(post(agent, verb, **body), 404, "DIRECTORY_NOT_FOUND")
        assert document["message"] == f"Directory not found: {space}/x"
        assert document["path"] == document["details"]["path"] == path


def test_a_name_with_a_slash_at_its_end(agent, space):
    document = expect_error(post(agent, "write", path=f"{space}/new/", content=""), 400, "INVALID_PATH", "/path")
    assert document["message"] == f"The name of a file cannot end with a slash: {space}/new/"


def test_names_that_are_no_utf8(agent, space):
    """Their last byte is not lost."""
    os.mkdir(os.fsencode(space) + b"/a\xe9")
    document = expect_error(agent.http.get(f"/files/read?path={space}/a%E9"), 400, "INVALID_PATH", "/path")
    assert document["message"] == f"Is a directory: {space}/a?"


def test_links_that_lead_nowhere(agent, space):
    (space / "link").symlink_to("missing")
    document = expect_error(get(agent, "stat", space / "link"), 404, "FILE_NOT_FOUND")
    assert document["message"] == f"The link leads nowhere: {space}/link"
    document = expect_error(get(agent, "stat", space / "other"), 404, "FILE_NOT_FOUND")
    assert document["message"] == f"File not found: {space}/other"


@pytest.mark.parametrize(
    "old, hint",
    [
        ("one\ntwo", "other line ends"),
        ("two three", "other white space"),
        ("one two\tthree", "other white space"),
        ("one four", None),
        (" \n \n", None),
    ],
)
def test_a_text_that_is_nearly_there(agent, space, old, hint):
    (space / "file").write_bytes(CRLF.encode())
    body = {"path": str(space / "file"), "old": old, "new": "x"}
    message = expect_error(post(agent, "replace", **body), 409, "TEXT_NOT_FOUND", "/old")["message"]
    assert hint in message if hint else message == "old: the file does not contain this text"


def test_a_file_that_is_too_large_to_be_edited(agent, space):
    with open(space / "file", "w") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    body = {"path": str(space / "file"), "old": "a", "new": "b"}
    assert "16 MiB" in expect_error(post(agent, "replace", **body), 413, "PAYLOAD_TOO_LARGE")["message"]


def test_fields_that_belong_in_the_query(agent):
    response = agent.http.request("DELETE", "/files/remove", json={"path": "x"})
    assert "query" in expect_error(response, 400, "MISSING_PARAMETER", "/path")["message"]
