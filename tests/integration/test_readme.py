# SPDX-License-Identifier: Apache-2.0
"""What the documents tell readers to paste works, and does what the comments beside it say."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lib import tokens

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SDK = TESTS / "node_modules" / "@hopx-ai" / "sdk"
TIMEOUT = 120  # of an interpreter with an SDK, beside everything else that is tested

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def example(document, heading, language):
    """The first fenced block of @language below @heading."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = f"\n{text}".split(f"\n{heading}\n", 1)[1]
    return next(body for kind, body in FENCE.findall(section) if kind == language)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def run(agent, tmp_path):
    """Runs an example against the agent, and returns what it printed."""

    def run(command, text, name):
        text = re.sub(r"http://(?:127\.0\.0\.1|localhost):7777", agent.url, text)
        text = text.replace("7780", str(free_port())).replace("/workspace/", f"{agent.workspace}/")
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [*command, str(file)],
            cwd=tmp_path,
            env={**os.environ, "TOKEN": tokens.token()},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def check_answers(text, printed):
    """Below each command stands its answer as a comment, "…" for what is left out."""
    wanted = [line[2:] for line in text.splitlines() if line.startswith("# {")]
    lines = printed.splitlines()
    assert len(lines) == len(wanted) > 0
    for answer, line in zip(wanted, lines):
        pattern = ".*".join(re.escape(part) for part in answer.split("…"))
        assert re.fullmatch(pattern, line), f"{answer}\n{line}"


def check_comments(text, comment, printed):
    """Behind each call that prints stands what it prints."""
    wanted = re.findall(rf"^(?:print|console\.log)\(.*\) *;? *{comment} (.*)$", text, re.M)
    assert printed.split() == wanted and wanted


CURL = pytest.mark.parametrize(
    "document, heading",
    [
        ("README.md", "### curl"),
        ("docs/guide/running-code.md", "# Running code and commands"),
        ("docs/guide/environment.md", "# Environment"),
    ],
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@CURL
def test_curl(run, document, heading):
    text = example(document, heading, "sh")
    # Answers have no newline at their end.
    check_answers(text, run(["bash"], 'curl() { command curl "$@"; echo; }\n' + text, "example.sh"))


def test_python(run):
    text = example("README.md", "### Python", "python")
    check_comments(text, "#", run([sys.executable], text, "example.py"))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not SDK.is_dir(), reason="the client is not installed: npm ci in tests/")
def test_javascript(run, tmp_path):
    (tmp_path / "node_modules").symlink_to(TESTS / "node_modules")
    text = example("README.md", "### JavaScript", "js")
    check_comments(text, "//", run(["node"], text, "example.mjs"))
