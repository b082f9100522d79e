# SPDX-License-Identifier: Apache-2.0
"""What tests want to know of an agent's waiting processes."""

import os
import shutil
import subprocess
from pathlib import Path

from lib.waiting import wait_until

# The interpreter that agents under test find in their PATH.
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")


def pool(agent, name="python"):
    return agent.gauges()["warm"][name]


def wait_ready(agent, name="python", n=1, timeout=20.0):
    """Until @n processes wait; returns the pool."""

    def is_ready():
        found = pool(agent, name)
        return found["ready"] >= n and not found["starting"] and found

    return wait_until(is_ready, lambda: f"{n} waiting processes: {pool(agent, name)}\n{agent.log_tail()}", timeout)


def warm_up(agent, name="python", n=1):
    language = "javascript" if name == "javascript" else "python"
    code = "import fakenumpy" if name == "python-scientific" else ""
    agent.execute(code, language)
    return wait_ready(agent, name, n)


def run(agent, code, language="python", **fields):
    """Runs it, and says whether that was warm: (result, name of the miss or None)."""
    before = agent.gauges()["warm"]
    response = agent.execute(code, language, **fields)
    assert response.status_code == 200, response.text
    after = agent.gauges()["warm"]
    hits = sum(after[name]["hits"] - before[name]["hits"] for name in after)
    misses = [
        reason
        for name in after
        for reason in after[name]["misses"]
        for _ in range(after[name]["misses"][reason] - before[name]["misses"][reason])
    ]
    assert hits + len(misses) >= 1, (before, after)
    return response.json(), None if hits else misses[-1]


class Venv:
    """A virtual environment of its own, so that tests may install what they want."""

    def __init__(self, directory):
        self.directory = Path(directory)
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(directory)], check=True)
        self.packages = next(self.directory.glob("lib/python3*/site-packages"))
        self.path = f"{self.directory}/bin:/usr/local/bin:/usr/bin:/bin"

    def install(self, name, text):
        """As pip does it: under another name, then renamed."""
        target = self.packages / f"{name}.py"
        temporary = self.packages / f"~{name}.tmp"
        temporary.write_text(text)
        os.replace(temporary, target)
