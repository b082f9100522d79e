# SPDX-License-Identifier: Apache-2.0
"""What the headers of an upload say about its body, and the agent does not do: it says so, and stores nothing."""

import os

import pytest

from lib.expect import expect_error, expect_json


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


def upload(agent, method, path, headers):
    """Five bytes, as a form or as they are."""
    body = {"content": b"bbbbb"} if method == "PUT" else {"files": {"file": ("name", b"bbbbb")}}
    return agent.http.request(method, "/files/upload", params={"path": str(path)}, headers=headers, **body)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_part_is_not_a_file(agent, space, method):
    """As clients send it that believe to go on where an upload was broken off."""
    (space / "file").write_bytes(b"a" * 10)
    response = upload(agent, method, space / "file", {"Content-Range": "bytes 5-9/10"})
    assert "Content-Range" in expect_error(response, 400, "INVALID_REQUEST")["message"]
    assert (space / "file").read_bytes() == b"a" * 10


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/octet-stream"}])
def test_a_file_that_is_no_form(agent, space, headers):
    """The answer says how it is done."""
    response = agent.http.post("/files/upload", params={"path": str(space)}, content=b"x", headers=headers)
    message = expect_error(response, 400, "INVALID_REQUEST")["message"]
    assert "multipart/form-data" in message and "PUT" in message


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity", "x"])
def test_packed_bodies(agent, space, encoding):
    """They would be stored as they are, or be no JSON."""
    headers = {"Content-Encoding": encoding}
    body = {"path": str(space / "file"), "content": "x"}
    for response in (
        upload(agent, "PUT", space / "file", headers),
        upload(agent, "POST", space / "file", headers),
        agent.http.post("/files/write", json=body, headers=headers),
        agent.http.post("/commands/run", json={"command": f"touch {space}/file"}, headers=headers),
    ):
        message = expect_error(response, 415, "UNSUPPORTED_MEDIA_TYPE")["message"]
        assert "Content-Encoding" in message and encoding in message
        assert response.headers["Accept-Encoding"] == "identity"
    assert os.listdir(space) == []


def test_the_second_of_two_encodings(agent, space):
    twice = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    expect_error(upload(agent, "PUT", space / "file", twice), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert os.listdir(space) == []


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_bodies_that_are_not_packed(agent, space, encoding):
    headers = {"Content-Encoding": encoding}
    expect_json(upload(agent, "PUT", space / "file", headers))
    assert (space / "file").read_bytes() == b"bbbbb"


def test_no_body(agent, space):
    response = agent.http.get("/files/list", params={"path": str(space)}, headers={"Content-Encoding": "gzip"})
    expect_json(response)
