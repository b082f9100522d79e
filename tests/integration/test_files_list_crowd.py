# SPDX-License-Identifier: Apache-2.0
"""GET /files/list in a directory with very many entries."""

import http.client
import os
import time

import pytest

from lib import tokens
from lib.agent import Agent, in_memory
from lib.expect import expect_json
from lib.files import listing, names
from lib.waiting import is_plain_build, wait_until

MANY = 20_000 if not is_plain_build() else 100_000


@pytest.fixture(scope="module")
def agent():
    with in_memory():
        agent = Agent()
    yield agent
    agent.close()


@pytest.fixture(scope="module")
def crowd(agent):
    """A directory with very many entries."""
    directory = agent.workspace / "crowd"
    directory.mkdir()
    for number in range(MANY):
        os.mknod(f"{directory}/file-{number:06}", 0o644)
    return directory


def test_very_many(agent, crowd):
    document = listing(agent, crowd)
    assert names(document) == [f"file-{number:06}" for number in range(MANY)]


def test_very_many_in_pages(agent, crowd):
    seen, cursor = [], ""
    while cursor is not None:
        page = listing(agent, crowd, limit=MANY // 3, cursor=cursor)
        seen += names(page)
        cursor = page["next_cursor"]
    assert seen == [f"file-{number:06}" for number in range(MANY)]


def open_list(agent, directory):
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
    connection.request("GET", f"/files/list?path={directory}", headers=tokens.bearer(tokens.token()))
    return connection, connection.getresponse()


def test_a_client_that_is_slow(agent, crowd):
    """The worker stops when nobody takes what it makes, and goes on where it was."""
    connection, response = open_list(agent, crowd)
    text = response.read(1000)
    assert expect_json(agent.http.get("/health"))["status"] == "healthy"
    text += response.read()
    connection.close()
    assert text.count(b'"name":"file-') == MANY and text.endswith(b"}")


def test_a_client_that_leaves(agent, crowd):
    connections = [open_list(agent, crowd) for _ in range(6)]
    for connection, response in connections:
        response.read(1000)
        response.close()
        connection.close()
    wait_until(lambda: agent.gauges()["requests_live"] <= 1, "the lists to end")
    assert names(listing(agent, crowd, limit=1)) == ["file-000000"]


@pytest.mark.plain_build
def test_the_first_byte_is_early(agent, crowd):
    listing(agent, crowd)
    times = []
    for _ in range(5):
        began = time.monotonic()
        connection, response = open_list(agent, crowd)
        response.read(1)
        times.append(time.monotonic() - began)
        response.read()
        connection.close()
    assert min(times) < 0.05, times
