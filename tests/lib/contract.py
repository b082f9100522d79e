# SPDX-License-Identifier: Apache-2.0
"""schemathesis against a live agent: it makes requests from the OpenAPI document, right and wrong ones, and holds the
answers against it. Everything happens in a workspace of its own, as a user who may do little."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from lib import tokens
from lib.agent import BINARY, base_environment

HERE = Path(__file__).parent
USER = "nobody"

# What the examples of the document name.
FILES = {"src/app.py": "print(1)\n", "run.sh": "echo 42\n", "data.csv": "a,b\n1,2\n", "README": "An example\n"}

SMALL = {
    "max_timeout": "2s",
    "max_tasks": 64,
    "max_body": "1M",  # or the largest texts that a schema allows would be made, and sent
    "max_upload": "8M",
    "job_keep_count": 50,
    "kill_grace": "0",
    "job_kill_grace": "0",
    # Nothing leaves this machine, whatever callback_url is made up.
    "webhook_deny": ["0.0.0.0/0", "::/0"],
    "webhook_max_tries": 1,
}


def options():
    """Of the agent; made-up paths and environments reach little."""
    return {**SMALL, **({"run_as": USER} if os.geteuid() == 0 else {})}


def prepare(agent):
    for name, content in FILES.items():
        path = agent.workspace / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    if os.geteuid() == 0:
        group = pwd.getpwnam(USER).pw_gid
        for path in (agent.workspace, *agent.workspace.rglob("*")):
            shutil.chown(path, USER, group)


def document():
    done = subprocess.run([str(BINARY), "openapi"], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def run(agent, directory, spec=None, examples=None, arguments=()):
    """The finished process of schemathesis. @examples is the number of made-up requests to each operation."""
    prepare(agent)
    location = directory / "openapi.json"
    location.write_text(json.dumps(spec or document()))
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        str(location),
        f"--url={agent.url}",
        f"--header=Authorization: {tokens.bearer(tokens.token())['Authorization']}",
        *([f"--max-examples={examples}"] if examples else []),
        *arguments,
    ]
    environment = {
        **base_environment(),
        "PYTHONPATH": str(HERE.parent),
        "SCHEMATHESIS_HOOKS": "lib.schemathesis_hooks",
        "NO_COLOR": "1",
    }
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
