# SPDX-License-Identifier: Apache-2.0
"""POST /files/batch: all files are written, or none."""

import base64
import os
import resource
from pathlib import Path

import pytest

from lib import procfs
from lib.expect import expect_error, expect_json
from lib.files import post


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def files_in(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.smoke
def test_many_files(agent, space):
    (space / "old").write_text("old")
    files = [
        {"path": str(space / "old"), "content": "new"},
        {"path": str(space / "a" / "script"), "content": "#!/bin/sh\n", "mode": "0755"},
        {"path": str(space / "a" / "bytes"), "content": base64.b64encode(b"\0\xff").decode(), "encoding": "base64"},
        {"path": f"{space.name}/relative", "content": ""},
    ]
    answer = expect_json(post(agent, "batch", files=files))
    assert answer["success"] is True and answer["count"] == 4 and answer["size"] == 15
    assert [file["path"] for file in answer["files"]] == [file["path"] for file in files]
    assert [file["created"] for file in answer["files"]] == [False, True, True, True]
    assert files_in(space) == {
        "old": b"new", "a/script": b"#!/bin/sh\n", "a/bytes": b"\0\xff", "relative": b"",
    }  # fmt: skip
    assert os.access(space / "a" / "script", os.X_OK)


@pytest.mark.parametrize(
    "bad, status, code, field",
    [
        ({"content": "x"}, 400, "MISSING_PARAMETER", "/path"),
        ({"path": "x"}, 400, "MISSING_PARAMETER", "/content"),
        ({"path": "x", "content": "x", "mode": "9"}, 400, "INVALID_REQUEST", "/mode"),
        ({"path": "x", "content": "!", "encoding": "base64"}, 400, "INVALID_REQUEST", "/content"),
        ({"path": "x", "content": "x", "append": True}, 400, "INVALID_REQUEST", "/append"),
        ("x", 400, "INVALID_REQUEST", ""),
        ({"path": "/etc/x", "content": "x"}, 403, "PATH_NOT_ALLOWED", "/path"),
        ({"path": "x" * 256, "content": "x"}, 400, "INVALID_PATH", "/path"),
        ({"path": ".", "content": "x"}, 400, "INVALID_PATH", "/path"),
        ({"path": "TAKEN", "content": "x", "overwrite": False}, 409, "FILE_ALREADY_EXISTS", "/path"),
    ],
)
def test_all_or_nothing(agent, space, bad, status, code, field):
    (space / "kept").write_text("old")
    if isinstance(bad, dict) and bad.get("path") == "TAKEN":
        bad = {**bad, "path": str(space / "kept")}
    files = [{"path": str(space / name), "content": "new"} for name in ("first", "second")] + [bad]
    expect_error(post(agent, "batch", files=files), status, code, f"/files/2{field}")
    assert files_in(space) == {"kept": b"old"} and os.listdir(space) == ["kept"]


def test_what_was_written_is_put_back(agent, space):
    """The last file turns out to be impossible only when the others have their names already."""
    (space / "old").write_text("old")
    (space / "old").chmod(0o640)
    files = [
        {"path": str(space / "old"), "content": "new", "mode": "0600"},
        {"path": str(space / "fresh"), "content": "new"},
        {"path": str(space / "x"), "content": "1"},
        {"path": str(space / "x" / "y"), "content": "2"},
    ]
    expect_error(post(agent, "batch", files=files), 400, "INVALID_PATH", "/files/2/path")
    assert files_in(space) == {"old": b"old"}
    assert (space / "old").stat().st_mode & 0o777 == 0o640


def test_a_file_that_a_link_leads_to_is_taken_back(agent, space):
    """What was made goes, not the link that was there."""
    (space / "link").symlink_to("target")
    files = [
        {"path": str(space / "link"), "content": "new"},
        {"path": str(space / "x"), "content": "1"},
        {"path": str(space / "x" / "y"), "content": "2"},
    ]
    expect_error(post(agent, "batch", files=files), 400, "INVALID_PATH", "/files/1/path")
    assert os.listdir(space) == ["link"] and os.readlink(space / "link") == "target"


def test_limits(agent, space):
    for files in ([], "x", {}, [{"path": f"f{number}", "content": ""} for number in range(257)]):
        expect_error(post(agent, "batch", files=files), 400, "INVALID_REQUEST", "/files")
    expect_error(post(agent, "batch"), 400, "MISSING_PARAMETER", "/files")
    same = {"path": str(space / "twice"), "content": ""}
    expect_error(post(agent, "batch", files=[same, same]), 400, "INVALID_REQUEST", "/files/1/path")
    assert os.listdir(space) == []
    files = [{"path": str(space / f"f{number}"), "content": str(number)} for number in range(256)]
    assert expect_json(post(agent, "batch", files=files))["count"] == 256
    assert len(os.listdir(space)) == 256


def test_one_file_under_two_names(agent, space):
    """The second spelling is refused: which content would it be?"""
    (space / "link").symlink_to("target")
    (space / "here").symlink_to(".")
    first = {"path": str(space / "target"), "content": "1"}
    for spelling in (f"{space}/./target", f"{space.name}//target", f"{space}/link", f"{space}/here/target"):
        files = [first, {"path": str(space / "other"), "content": ""}, {"path": spelling, "content": "2"}]
        document = expect_error(post(agent, "batch", files=files), 400, "INVALID_REQUEST", "/files/2/path")
        assert "files[0]" in document["message"] and document["path"] == spelling
    assert sorted(os.listdir(space)) == ["here", "link"]


def test_directories_go_as_well(agent, space):
    """Those that were made for nothing, not those that were there."""
    (space / "there").mkdir()
    files = [
        {"path": str(space / "there" / "a" / "b" / "x"), "content": "1"},
        {"path": f"{space}/new//c/x", "content": "2"},
        {"path": f"{space}/new/c/d/x", "content": "3"},
        {"path": f"{space.name}/by/name", "content": "4"},
        {"path": str(space / "missing" / "x"), "content": "5", "parents": False},
    ]
    expect_error(post(agent, "batch", files=files), 404, "DIRECTORY_NOT_FOUND", "/files/4/path")
    assert [str(path.relative_to(space)) for path in space.rglob("*")] == ["there"]
    assert expect_json(post(agent, "batch", files=files[:4]))["count"] == 4
    assert len(files_in(space)) == 4


@pytest.mark.plain_build
def test_deep_directories_take_no_memory(agent, space):
    """However long the names of all of them are together."""
    head = os.path.relpath(space, agent.workspace)
    files = [{"path": f"{head}/{name}" + "/d" * 1900 + "/x", "content": ""} for name in "ab"]
    Path(f"/proc/{agent.pid}/clear_refs").write_text("5")  # resets VmHWM
    before = procfs.status_kib(agent.pid, "VmHWM")
    files.append({"path": "/etc/x", "content": ""})
    expect_error(post(agent, "batch", files=files), 403, "PATH_NOT_ALLOWED", "/files/2/path")
    assert os.listdir(space) == []
    assert procfs.status_kib(agent.pid, "VmHWM") - before < 8192


def test_a_name_that_only_a_directory_has(agent, space):
    files = [{"path": str(space / "a"), "content": ""}, {"path": f"{space}/b/", "content": ""}]
    expect_error(post(agent, "batch", files=files), 400, "INVALID_PATH", "/files/1/path")
    assert os.listdir(space) == []


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"path": 1}, "/path"),
        ({"path": "a\0b"}, "/path"),
        ({"path": ""}, "/path"),
        ({"content": []}, "/content"),
        ({"mode": 644}, "/mode"),
        ({"mode": "u+x"}, "/mode"),
        ({"overwrite": 1}, "/overwrite"),
        ({"encoding": "utf-16"}, "/encoding"),
    ],
)
def test_wrong_types(agent, space, fields, field):
    good = {"path": str(space / "a"), "content": ""}
    files = [good, {"path": str(space / "b"), "content": "", **fields}]
    expect_error(post(agent, "batch", files=files), 400, "INVALID_REQUEST", f"/files/1{field}")
    assert os.listdir(space) == []


def test_no_descriptors(new_agent):
    """Wherever they run out: nothing is left, and the old content is there."""
    agent = new_agent()
    space = agent.workspace
    (space / "f0").write_text("old")
    files = [{"path": str(space / "made" / ".." / f"f{number}"), "content": "new"} for number in range(5)]
    pid = agent.process.pid
    expect_json(agent.http.get("/files/stat", params={"path": "f0"}))  # a connection cannot be made later
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    n_open = len(os.listdir(f"/proc/{pid}/fd"))
    for n_more in range(60):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open + n_more, limits[1]))
        try:
            response = post(agent, "batch", files=files)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        if response.status_code == 200:
            break
        document = expect_json(response, 503)
        assert document["code"] == "SERVICE_UNAVAILABLE" and document["details"]["field"].startswith("/files/")
        assert files_in(space) == {"f0": b"old"}
    assert response.status_code == 200 and n_more > 5
    assert files_in(space) == {f"f{number}": b"new" for number in range(5)}
