# SPDX-License-Identifier: Apache-2.0
"""Parameters of a query that would have no effect: they have one, or are refused."""

import os

import pytest

from lib.expect import expect_error, expect_json
from lib.files import get, listing


@pytest.fixture(scope="module")
def tree(agent, tmp_path_factory):
    tree = agent.workspace / tmp_path_factory.mktemp("tree").name
    for path in ("build/out.js", "src/main.js", "src/deep/util.js", "top.js", "other/build"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text("word\n")
    return tree


def paths(agent, tree, **params):
    return [os.path.relpath(entry["path"], tree) for entry in listing(agent, tree, **params)["files"]]


@pytest.mark.parametrize(
    "params, expected",
    [
        ({"glob": "**/*.js"}, ["build/out.js", "src/deep/util.js", "src/main.js", "top.js"]),
        ({"glob": "src/*.js"}, ["src/main.js"]),
        ({"glob": "*.js"}, ["top.js"]),
        ({"depth": 2, "glob": "*.js"}, ["build/out.js", "src/main.js", "top.js"]),
        ({"depth": 1, "glob": "*.js"}, ["top.js"]),
        ({"depth": 1, "glob": "*.js", "recursive": "false"}, ["top.js"]),
        ({"depth": 0, "glob": "*.js", "recursive": "false"}, ["top.js"]),
        ({"glob": "build/"}, ["build"]),
        ({"glob": "build/", "recursive": "true"}, ["build"]),
        ({"glob": "build", "recursive": "true"}, ["build", "other/build"]),
        ({"glob": "src/*/"}, ["src/deep"]),
    ],
)
def test_lists(agent, tree, params, expected):
    assert paths(agent, tree, **params) == expected


@pytest.mark.parametrize("params", [{"depth": 3}, {"glob": "**/*.js"}])
def test_a_list_that_must_not_go_down(agent, tree, params):
    response = get(agent, "list", tree, recursive="false", **params)
    expect_error(response, 400, "INVALID_REQUEST", "/recursive")


def test_searches(agent, tree):
    def found(**params):
        matches = expect_json(get(agent, "search", tree, pattern="word", **params))["matches"]
        return [os.path.relpath(match["path"], tree) for match in matches]

    everything = ["build/out.js", "other/build", "src/deep/util.js", "src/main.js", "top.js"]
    assert found() == everything
    assert found(exclude="build/") == everything[1:]
    assert found(exclude="build") == everything[2:4] + everything[4:]
    assert found(exclude="src/deep/") == everything[:2] + everything[3:]
    expect_error(get(agent, "search", tree, pattern="word", glob="src/"), 400, "INVALID_REQUEST", "/glob")


@pytest.mark.parametrize(
    "params, field",
    [
        ({"line_start": 0}, "/line_start"),
        ({"line_start": 1, "offset": 1}, "/offset"),
        ({"line_end": 1, "offset": 1}, "/offset"),
        ({"line_start": 1, "limit": 1}, "/limit"),
    ],
)
def test_parts_of_files(agent, tree, params, field):
    expect_error(get(agent, "read", tree / "top.js", **params), 400, "INVALID_REQUEST", field)


def test_lines_with_bytes_that_say_nothing(agent, tree):
    assert expect_json(get(agent, "read", tree / "top.js", line_start=1, offset=0))["content"] == "word\n"


@pytest.mark.parametrize(
    "verb, query, field",
    [
        ("read", "path={0}&path={1}", "/path"),
        ("read", "path={0}&PATH={1}", "/path"),
        ("read", "path={0}&encoding=utf-8&encoding=base64", "/encoding"),
        ("search", "query=a&path={0}&query=b", "/query"),
        ("search", "query=a&path={0}&pattern=b", "/pattern"),
        ("list", "limit&limit=1", "/limit"),
    ],
)
def test_a_parameter_that_is_given_twice(agent, tree, verb, query, field):
    response = agent.http.get(f"/files/{verb}?" + query.format(tree / "top.js", tree / "src" / "main.js"))
    document = expect_error(response, 400, "INVALID_REQUEST", field)
    assert document["message"] == f"{field[1:]}: is in the query more than once"


def test_what_nobody_reads_may_be_there_twice(agent, tree):
    assert expect_json(agent.http.get(f"/files/read?path={tree}/top.js&x=1&x=2"))["content"] == "word\n"
