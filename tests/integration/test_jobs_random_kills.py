# SPDX-License-Identifier: Apache-2.0
"""The agent is killed at any moment, again and again, while it starts jobs and tells of their output.

AGENT_KILLS=100 makes it longer, AGENT_SEED repeats it."""

import os
import random
import threading

import httpx
import pytest

from lib import procfs
from lib.expect import expect_json
from lib.jobs import FINAL, start_id
from lib.restart import Follower, kill_agent, start_agent
from lib.waiting import wait_until
from lib.writers import bash, numbers, output_of, paced, request_in_thread

N_KILLS = int(os.environ.get("AGENT_KILLS") or 5)


class Submitter:
    """Starts small jobs without a pause; remembers those that were accepted."""

    def __init__(self, agent):
        self.url = agent.url
        self.headers = dict(agent.http.headers)
        self.accepted = []
        self.failure = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.is_over.set()
        self.thread.join(60)
        assert self.failure is None, self.failure

    def _run(self):
        number = 0
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=60) as client:
            while not self.is_over.is_set():
                number += 1
                body = {"command": f"echo {number}; exit {number % 100}"}
                try:
                    response = client.post("/commands/background", json=body)
                except httpx.TransportError:
                    continue
                finally:
                    self.is_over.wait(0.02)
                if response.status_code == 200:
                    self.accepted.append((number, response.json()["process_id"]))
                elif response.status_code not in (429, 503):
                    self.failure = response.text
                    return


def wait_for_final(agent, identifiers, timeout=60):
    def are_final():
        rows = {}
        cursor = None
        while True:
            query = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
            page = expect_json(agent.http.get("/execute/processes", params=query))
            rows.update({row["process_id"]: row for row in page["processes"]})
            cursor = page["next_cursor"]
            if not cursor:
                break
        missing = [identifier for identifier in identifiers if identifier not in rows]
        assert not missing, f"{len(missing)} of {len(identifiers)} were forgotten"
        return rows if all(rows[identifier]["status"] in FINAL for identifier in identifiers) else None

    return wait_until(are_final, "the end of all jobs", timeout)


@pytest.mark.parametrize("tracking", ["auto", "off"])
def test_random_kills(new_agent, tracking):
    """No job is forgotten, no byte lost or doubled, whenever it happens."""
    seed = int(os.environ.get("AGENT_SEED") or random.randrange(1 << 30))
    print(f"AGENT_SEED={seed}")
    chance = random.Random(seed)
    agent = new_agent(cgroup=tracking, job_keep_count=16_384, shutdown_grace="1s")
    last = 60 * N_KILLS
    sources = [start_id(agent, **bash(paced(last))) for _ in range(6)]
    flood = start_id(agent, f"seq 1 {min(100_000 * N_KILLS, 1_000_000)}")
    followers = {identifier: Follower(agent, identifier) for identifier in [*sources[:3], flood]}
    submitter = Submitter(agent)
    for _ in range(N_KILLS):
        foreground = request_in_thread(agent.run, "exec sleep 1000", timeout=1000)
        submitter.is_over.wait(chance.uniform(0.0, 0.5))
        kill_agent(agent)
        foreground.join(10)
        start_agent(agent)
    submitter.stop()

    accepted = dict(submitter.accepted)
    rows = wait_for_final(agent, [*sources, flood, *accepted.values()])
    assert len(accepted) > N_KILLS
    for number, identifier in accepted.items():
        assert rows[identifier]["exit_code"] == number % 100, rows[identifier]
        assert rows[identifier]["stdout_bytes"] == len(f"{number}\n")
    for number, identifier in chance.sample(sorted(accepted.items()), min(20, len(accepted))):
        assert output_of(agent, identifier) == b"%d\n" % number
    for identifier in sources:
        assert rows[identifier]["exit_code"] == 0
        assert output_of(agent, identifier) == numbers(1, last)
    for identifier, follower in followers.items():
        out, err = follower.join()
        assert out == (numbers(1, last) if identifier in sources else numbers(1, min(100_000 * N_KILLS, 1_000_000)))
        assert err == b""
    # Nothing but the agent itself is left.
    wait_until(lambda: not agent.survivors(), lambda: procfs.describe(agent.survivors()))
