# SPDX-License-Identifier: Apache-2.0
"""GET /files/list."""

import os

import pytest

from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.files import ODD_NAMES, get, listing, names


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


@pytest.mark.smoke
def test_what_the_clients_read(agent, space):
    (space / "file").write_text("12345")
    (space / "sub").mkdir()
    (space / "sub" / "deeper").touch()
    (space / "link").symlink_to("sub")
    document = listing(agent, space)
    assert document["path"] == str(space) and names(document) == ["file", "link", "sub"]
    assert document["has_more"] is False and document["next_cursor"] is None
    file, link, sub = document["files"]
    for entry, is_directory in ((file, False), (link, False), (sub, True)):
        assert entry["path"] == str(space / entry["name"])
        assert entry["is_directory"] is entry["is_dir"] is is_directory
        assert entry["modified"] == entry["modified_time"] and TIMESTAMP.match(entry["modified"])
    assert (file["size"], file["permissions"], file["mode"]) == (5, "-rw-r--r--", "0644")
    assert sub["permissions"].startswith("drwx")
    assert (link["type"], link["target"]) == ("symlink", "sub")


def test_the_workspace_is_the_default(agent, space):
    document = expect_json(agent.http.get("/files/list"))
    assert document["path"] == str(agent.workspace) and space.name in names(document)


def test_an_empty_directory(agent, space):
    assert listing(agent, space)["files"] == []


def test_odd_names(agent, space):
    for name in ODD_NAMES:
        (space / name).touch()
    assert sorted(names(listing(agent, space))) == sorted(ODD_NAMES)


def test_names_that_are_no_utf8(agent, space):
    """What JSON cannot carry comes percent-encoded, too, for the query of another request."""
    os.mkdir(os.fsencode(space) + b"/d\xff +%")
    os.close(os.open(os.fsencode(space) + b"/d\xff +%/caf\xe9", os.O_CREAT))
    (space / "plain").touch()
    entries = {entry["name"]: entry for entry in listing(agent, space)["files"]}
    assert sorted(entries) == ["d\ufffd +%", "plain"] and "path_encoded" not in entries["plain"]
    encoded = entries["d\ufffd +%"]["path_encoded"]
    assert encoded == f"{space}/d%FF%20%2B%25"
    document = expect_json(agent.http.get(f"/files/list?path={encoded}"))
    assert document["path"] == f"{space}/d\ufffd +%"
    (entry,) = document["files"]
    assert (entry["name"], entry["path_encoded"]) == ("caf\ufffd", f"{encoded}/caf%E9")
    assert entry["path"] == f"{space}/d\ufffd +%/caf\ufffd"
    assert expect_json(agent.http.get(f"/files/list?path={space}&recursive=true&limit=1"))["has_more"]


def test_using_names_that_are_no_utf8(agent, space):
    raw = os.fsencode(space) + b"/caf\xe9"
    with open(raw, "wb") as file:
        file.write(b"content")
    encoded = listing(agent, space)["files"][0]["path_encoded"]

    def ask(verb, method="GET", path=encoded, **more):
        return agent.http.request(method, f"/files/{verb}?path={path}", **more)

    stat = expect_json(ask("stat"))
    assert (stat["size"], stat["path_encoded"]) == (7, encoded) and stat["real_path"].endswith("/caf\ufffd")
    assert expect_json(ask("exists"))["exists"] is True
    assert expect_json(ask("exists", path=encoded[:-1] + "8"))["exists"] is False
    assert expect_json(ask("read"))["content"] == "content"
    response = ask("download")
    assert response.content == b"content"
    assert response.headers["Content-Disposition"] == "attachment; filename=\"caf_\"; filename*=UTF-8''caf%EF%BF%BD"
    expect_json(ask("upload", "PUT", content=b"new"))
    with open(raw, "rb") as file:
        assert file.read() == b"new"
    assert expect_error(ask("read", path=f"{encoded}/x"), 400, "INVALID_PATH", "/path")["path"].endswith("caf\ufffd/x")
    assert expect_error(ask("read", path="/etc/%ff"), 403, "PATH_NOT_ALLOWED")["path"] == "/etc/\ufffd"
    expect_error(ask("stat", path=f"{encoded}%00"), 400, "INVALID_REQUEST", "/path")
    expect_json(ask("remove", "DELETE"))
    assert os.listdir(space) == [] and expect_json(ask("exists"))["exists"] is False


def test_slashes_at_the_end(agent, space):
    (space / "file").touch()
    assert listing(agent, f"{space}//")["files"][0]["path"] == str(space / "file")


@pytest.fixture
def tree(space):
    for path in ("a/b/c/deep.py", "a/top.py", "a/x.txt", "z.py"):
        (space / path).parent.mkdir(parents=True, exist_ok=True)
        (space / path).touch()
    return space


@pytest.mark.parametrize(
    "params, expected",
    [
        ({}, ["a", "z.py"]),
        ({"recursive": "true"}, ["a", "a/b", "a/b/c", "a/b/c/deep.py", "a/top.py", "a/x.txt", "z.py"]),
        ({"recursive": "true", "depth": 1}, ["a", "z.py"]),
        ({"recursive": "true", "depth": 2}, ["a", "a/b", "a/top.py", "a/x.txt", "z.py"]),
        ({"glob": "*.py"}, ["z.py"]),
        ({"recursive": "true", "glob": "*.py"}, ["a/b/c/deep.py", "a/top.py", "z.py"]),
        ({"recursive": "true", "glob": "a/*.py"}, ["a/top.py"]),
        ({"recursive": "true", "glob": "**/*.{py,txt}"}, ["a/b/c/deep.py", "a/top.py", "a/x.txt", "z.py"]),
    ],
)
def test_trees(agent, tree, params, expected):
    document = listing(agent, tree, **params)
    assert [os.path.relpath(entry["path"], tree) for entry in document["files"]] == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages(agent, tree, limit):
    seen, cursor = [], ""
    while True:
        page = listing(agent, tree, recursive="true", limit=limit, cursor=cursor)
        assert len(page["files"]) <= limit
        seen += [entry["path"] for entry in page["files"]]
        if not page["has_more"]:
            break
        assert len(page["files"]) == limit
        cursor = page["next_cursor"]
    assert seen == [entry["path"] for entry in listing(agent, tree, recursive="true")["files"]]


def test_what_goes_wrong(agent, space):
    (space / "file").touch()
    answer = expect_error(get(agent, "list", space / "none"), 404, "DIRECTORY_NOT_FOUND")
    assert answer["path"] == str(space / "none") and "not found" in answer["message"]
    expect_error(get(agent, "list", space / "file"), 400, "INVALID_PATH", "/path")
    expect_error(get(agent, "list", "/etc"), 403, "PATH_NOT_ALLOWED")
    expect_error(get(agent, "list", space, glob="["), 400, "INVALID_REQUEST", "/glob")
    expect_error(get(agent, "list", space, cursor="xyz"), 400, "INVALID_REQUEST", "/cursor")
    expect_error(get(agent, "list", space, limit=-1), 400, "INVALID_REQUEST", "/limit")
