# SPDX-License-Identifier: Apache-2.0
"""What a normal exit leaves running lives on: dev servers started with & answer, log, and are counted."""

import os
import signal
import urllib.error
import urllib.request

import pytest

from lib import procfs
from lib.expect import expect_error, expect_result
from lib.waiting import wait_until

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        # Far more than a pipe holds: whoever does not read this stops the server.
        print("serving", "x" * 20000, file=sys.stderr, flush=True)
        print("serving", "y" * 20000, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open(sys.argv[1], "w").write(str(server.server_port))
server.serve_forever()
"""


@pytest.fixture(params=["auto", "off"])
def agent(new_agent, request):
    return new_agent(cgroup=request.param)


def end_all(agent):
    for pid in agent.survivors():
        os.kill(pid, signal.SIGKILL)
    agent.wait_until_idle()


def wait_for_lingering(agent, count):
    wait_until(lambda: agent.gauges()["processes_lingering"] == count, lambda: f"{count} in {agent.gauges()}")


def port_in(path):
    return path.exists() and path.read_text()


@pytest.mark.smoke
def test_a_server_started_in_the_background_serves_and_logs(agent):
    (agent.workspace / "server.py").write_text(SERVER)
    ready = agent.workspace / "port"
    result = expect_result(agent.run("python3 server.py port & echo started"))
    assert result["stdout"].startswith("started\n")
    port = wait_until(lambda: port_in(ready), "the server's port")
    for _ in range(30):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"hi"
    wait_for_lingering(agent, 1)
    assert agent.gauges()["processes_running"] == 0
    end_all(agent)


@pytest.mark.parametrize("command", ["nohup sleep 1000 &", "setsid sleep 1000 &", "(sleep 1000 &)", "sleep 1000 & disown"])
def test_sleepers_live_on(agent, command):
    result = expect_result(agent.run("bash", args=["-c", f"{command}\necho started"]))
    assert "started\n" in result["stdout"]
    (sleeper,) = [pid for pid in agent.survivors() if "sleep" in procfs.command_line(pid)]
    expect_result(agent.run("true"))
    assert procfs.is_running(sleeper)
    wait_for_lingering(agent, 1)
    end_all(agent)


def test_output_of_the_drain_is_kept(agent):
    """What was written before the leader's exit is there, whoever wrote it."""
    result = expect_result(agent.run("(echo from the child; sleep 1000) & sleep 0.2; echo from the parent"))
    assert result["stdout"] == "from the child\nfrom the parent\n"
    end_all(agent)


def test_nobody_dies_of_a_closed_pipe(agent):
    """A lingering writer goes on for as long as it likes."""
    count = agent.workspace / "count"
    writer = (
        "import pathlib, sys, time\n"
        "for n in range(1000000):\n"
        "    print('x' * 1000, flush=True)\n"
        "    print('y' * 1000, file=sys.stderr, flush=True)\n"
        "    if n % 100 == 0:\n"
        "        pathlib.Path('count').write_text(str(n))\n"
        "        time.sleep(0.001)\n"
    )
    (agent.workspace / "writer.py").write_text(writer)
    expect_result(agent.run("python3 writer.py & echo started", timeout=30))
    wait_until(lambda: count.exists() and int(count.read_text() or 0) >= 3000, "3000 lines of a lingering writer")
    end_all(agent)


def test_lingering_groups_count_against_the_limit(new_agent):
    agent = new_agent(max_processes=2)
    for _ in range(2):
        expect_result(agent.run("sleep 1000 >/dev/null 2>&1 & echo started"))
    wait_for_lingering(agent, 2)
    document = expect_error(agent.run("true"), 429, "RATE_LIMIT_EXCEEDED")
    assert "2" in document["message"]
    os.kill(agent.survivors()[0], signal.SIGKILL)
    wait_for_lingering(agent, 1)
    expect_result(agent.run("true"))
    end_all(agent)


def test_a_group_that_ends_by_itself_is_forgotten(agent):
    expect_result(agent.run("sleep 0.3 & echo started"))
    agent.wait_until_idle()


def test_orphans_are_reaped(agent):
    """Each leaves an orphan that dies soon after: none may stay behind as a zombie."""
    for _ in range(10):
        expect_result(agent.run("(sleep 0.1; true) >/dev/null 2>&1 &"))
    agent.wait_until_idle()
    assert agent.children() == []
