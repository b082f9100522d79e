# SPDX-License-Identifier: Apache-2.0
"""Requests for files, in short."""

import base64

from lib.expect import expect_json

# Names that are easily spoilt on the way.
ODD_NAMES = (
    "two words",
    "a+b",
    "50%",
    "50%25",
    "%2e%2e",
    "a#b",
    "a&b=c",
    "a?b",
    "a;b",
    "line\nbreak",
    "tab\there",
    "-rf",
    "quote\"and'back\\slash",
    "ümläut",
    "e\u0301",
    "🐍🚀",
    "*",
    "[a]",
    "{a,b}",
    "~",
    "...",
    "a" * 255,
    "é" * 127,
)


def write(agent, path, content, status=200, **fields):
    if isinstance(content, bytes):
        content, fields = base64.b64encode(content).decode(), {"encoding": "base64", **fields}
    body = {"path": str(path), "content": content, **fields}
    return expect_json(agent.http.post("/files/write", json=body), status)


def read(agent, path, **params):
    return expect_json(get(agent, "read", path, **params))


def listing(agent, path, **params):
    document = expect_json(get(agent, "list", path, **params))
    assert document["count"] == len(document["files"])
    return document


def names(document):
    return [entry["name"] for entry in document["files"]]


def get(agent, verb, path, **params):
    """The response to GET /files/{verb}."""
    return agent.http.get(f"/files/{verb}", params={"path": str(path), **params})


def post(agent, verb, **fields):
    """The response to POST /files/{verb}."""
    return agent.http.post(f"/files/{verb}", json=fields)


def remove(agent, path, **params):
    return agent.http.delete("/files/remove", params={"path": str(path), **params})
