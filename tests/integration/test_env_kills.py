# SPDX-License-Identifier: Apache-2.0
"""/env with many writers, and with an agent that is killed in the middle of it: nothing that was answered is lost."""

import http.client
import json
import os
import random
import threading

import pytest

from lib import tokens
from lib.agent import in_memory
from lib.expect import expect_json
from lib.restart import kill_agent, start_agent
from lib.waiting import is_plain_build, time_factor, wait_until

# So often, unless somebody wants to know more. An agent with a sanitizer needs longer to start.
KILLS = int(os.environ.get("ENV_KILLS") or (100 if is_plain_build() else 15))
N_WRITERS = 3


class Writer(threading.Thread):
    """Sets its variable to one number after the other, until it is cut off or @n is reached."""

    def __init__(self, agent, name, first, n=None):
        super().__init__(daemon=True)
        self.agent, self.name_, self.next, self.n_left = agent, name, first, n
        self.acknowledged = first - 1
        self.failure = None
        self.start()

    def patch(self, connection, headers):
        body = json.dumps({"env_vars": {self.name_: str(self.next)}})
        connection.request("PATCH", "/env", body, headers)
        response = connection.getresponse()
        shown = json.loads(response.read())
        if response.status != 200 or shown["env_vars"].get(self.name_) != str(self.next):
            self.failure = shown
        else:
            self.acknowledged = self.next

    def run(self):
        headers = {**tokens.bearer(tokens.token()), "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=60 * time_factor())
        try:
            while self.failure is None and self.n_left != 0:
                self.patch(connection, headers)
                self.next += 1
                self.n_left = self.n_left and self.n_left - 1
        except (OSError, http.client.HTTPException, ValueError):
            pass  # it was cut off, maybe in the middle of an answer
        finally:
            connection.close()


def variables(agent):
    return expect_json(agent.http.get("/env"))["env_vars"]


def test_no_update_is_lost(agent):
    """50 writers, each of a variable of its own: what was answered is what is there."""
    writers = [Writer(agent, f"W{n}", 0, 10) for n in range(50)]
    for writer in writers:
        writer.join()
        assert writer.failure is None and writer.acknowledged == 9, writer.failure
    assert {f"W{n}": "9" for n in range(50)}.items() <= variables(agent).items()


def test_replacements_come_one_after_the_other(agent):
    """Of those who replace everything at the same time, one is the last: there is never a mixture."""
    failures = []

    def replace(n):
        for _ in range(10):
            body = {"env_vars": {f"R{i}": str(n) for i in range(20)}}
            shown = expect_json(agent.http.put("/env", json=body))["env_vars"]
            values = [shown.get(f"R{i}") for i in range(20)]
            if len(set(values)) != 1 or None in values:
                failures.append(values)

    threads = [threading.Thread(target=replace, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.fixture
def agent_in_memory():
    """Waiting for a disk is no part of what is looked at."""
    from lib.agent import Agent

    with in_memory():
        agent = Agent(warm="false")
        yield agent
        agent.close()


def test_kills_in_the_middle_of_writes(agent_in_memory):
    """The file is always whole, and has all that was answered; and nothing that nobody has asked for."""
    agent = agent_in_memory
    file = agent.directory / "run" / "state" / "env.json"
    chance = random.Random(7)
    found = {}
    for round_ in range(KILLS):
        writers = [Writer(agent, f"W{n}", int(found.get(f"W{n}", -1)) + 1) for n in range(N_WRITERS)]
        begin = writers[0].next
        enough = begin + chance.randrange(4)
        wait_until(lambda: writers[0].acknowledged >= enough or writers[0].failure, "progress", interval=0.0005)
        kill_agent(agent)
        for writer in writers:
            writer.join()
            assert writer.failure is None, (round_, writer.failure)
        kept = json.loads(file.read_text())["env_vars"]
        start_agent(agent)
        found = variables(agent)
        for writer in writers:
            value = int(found.get(writer.name_, -1))
            assert writer.acknowledged <= value <= writer.next, round_
            assert kept.get(writer.name_) == found.get(writer.name_)
    assert "global variables are lost" not in agent.log()
