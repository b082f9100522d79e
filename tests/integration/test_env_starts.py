# SPDX-License-Identifier: Apache-2.0
"""What global variables mean to all the ways in which something is started: from processes that wait, from a queue, in
terminals; and to results that are kept."""

import os
import shutil

import pytest

from lib.cache import Counted
from lib.expect import expect_json
from lib.jobs import job_of, start, wait_for_end
from lib.stream import run as run_stream
from lib.warm import PYTHON, pool, run, wait_ready, warm_up
from lib.ws_raw import Terminal

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node")

# Something that only counts when an interpreter starts, and how to see it: name, language, variable, code, output.
AT_START = [
    ("python", "PYTHONINTMAXSTRDIGITS", "5000", "import sys; print(sys.get_int_max_str_digits())", "5000\n"),
    ("python", "LANG", "POSIX", "import os; print(os.environ['LANG'])", "POSIX\n"),
    ("python", "HOME", "/elsewhere", "import site; print(site.USER_BASE.split('/.')[0])", "/elsewhere\n"),
    pytest.param("javascript", "TZ", "Asia/Tokyo", "console.log(new Date(0).getHours())", "9\n", marks=needs_node),
]


@pytest.fixture(autouse=True)
def clean(agent):
    expect_json(agent.http.delete("/env"))
    yield
    expect_json(agent.http.delete("/env"))


def patch(agent, **variables):
    expect_json(agent.http.patch("/env", json={"env_vars": variables}))


def path_of(agent):
    return expect_json(agent.http.get("/env"))["env_vars"]["PATH"]


def who_waits(agent, name):
    found = pool(agent, name)
    return found["server_pid"], set(found["pids"])


# Warm starts.


@pytest.mark.parametrize(("language", "name", "value", "code", "expected"), AT_START)
def test_what_counts_at_the_start_is_there_when_it_is_warm(agent, language, name, value, code, expected):
    warm_up(agent, language)
    before = who_waits(agent, language)
    patch(agent, **{name: value})
    result, _ = run(agent, code, language)
    assert result["stdout"] == expected, "right away, whoever runs it"
    wait_ready(agent, language)
    assert who_waits(agent, language)[1].isdisjoint(before[1])
    result, miss = run(agent, code, language)
    assert (result["stdout"], miss) == (expected, None)
    expect_json(agent.http.delete(f"/env/{name}"))
    wait_ready(agent, language)
    result, miss = run(agent, code, language)
    assert result["stdout"] != expected and miss is None


@pytest.mark.parametrize("language", ["python", pytest.param("javascript", marks=needs_node)])
def test_what_does_not_count_leaves_them_waiting(agent, language):
    warm_up(agent, language)
    before = who_waits(agent, language)
    other = "TZ" if language == "python" else "PYTHONHASHSEED"
    patch(agent, ANYTHING="1", API_KEY="secret", PATH=f"{path_of(agent)}:/elsewhere", **{other: "0"})
    after = who_waits(agent, language)
    assert after[0] == before[0] and before[1] <= after[1], "nobody is gone; there may be more"
    code = {"python": "import os; print(os.environ['API_KEY'])", "javascript": "console.log(process.env.API_KEY)"}
    result, miss = run(agent, code[language], language)
    assert (result["stdout"], miss) == ("secret\n", None)


def test_what_waits_does_not_keep_secrets(agent):
    """They get what they need with their job, so that nothing is left of a variable that was removed."""
    patch(agent, PYTHONHASHSEED="0", API_KEY="a-very-secret-value")
    warm_up(agent)
    for pid in who_waits(agent, "python")[1] | {who_waits(agent, "python")[0]}:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
        assert b"PYTHONHASHSEED=0" in environment and b"a-very-secret-value" not in environment


def test_another_interpreter(agent, tmp_path):
    """The first in the PATH is who waits."""
    (tmp_path / "python3").symlink_to(os.path.realpath(PYTHON))
    warm_up(agent)
    patch(agent, PATH=f"{tmp_path}:{path_of(agent)}")
    wait_ready(agent)
    result, miss = run(agent, "import sys; print(sys.executable)")
    assert (result["stdout"], miss) == (f"{tmp_path}/python3\n", None)


def test_what_broke_the_interpreter_can_be_taken_back(agent, tmp_path):
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python3").chmod(0o755)
    warm_up(agent)
    patch(agent, PATH=f"{tmp_path}:{path_of(agent)}")
    result, _ = run(agent, "print(1)")
    assert result["exit_code"] == 3
    expect_json(agent.http.delete("/env/PATH"))
    warm_up(agent)
    assert run(agent, "print(1)")[1] is None


# Everything else.


def test_terminals(agent):
    """Those that are opened later; what runs keeps what it has."""
    patch(agent, GREETING="hello")
    with Terminal(agent, "/terminal") as first:
        assert first.run('echo "$GREETING"') == "hello\n"
        patch(agent, GREETING="bye")
        assert first.run('echo "$GREETING"') == "hello\n"
        with Terminal(agent, "/terminal") as second:
            assert second.run('echo "$GREETING"') == "bye\n"


def test_streams(agent):
    patch(agent, GREETING="hello")
    stream = run_stream(agent, "/execute/stream", code='echo "$GREETING"', language="bash")
    assert stream.stdout == "hello\n"


def test_jobs_take_what_is_in_force_when_they_start(new_agent):
    """Not when they were accepted: what was removed, or replaced, is used no more."""
    agent = new_agent(max_processes=1)
    gate = agent.workspace / "gate"
    patch(agent, ROTATED="old", REMOVED="old")

    first = start(agent, f'echo "$ROTATED"; while [ ! -e {gate} ]; do sleep 0.01; done')
    show = 'echo "$ROTATED ${REMOVED-unset} ${OWN-unset}"'
    queued, own = start(agent, show), start(agent, show, env={"OWN": "own", "ROTATED": "own"})
    assert queued["status"] == own["status"] == "queued"
    patch(agent, ROTATED="new")
    expect_json(agent.http.delete("/env/REMOVED"))
    gate.touch()
    for answer, expected in ((first, "old\n"), (queued, "new unset unset\n"), (own, "own unset own\n")):
        wait_for_end(agent, answer["process_id"])
        assert job_of(agent, answer["process_id"])["stdout"] == expected


def test_kept_results_are_of_their_variables(agent):
    code = Counted(agent, 'printf %s "$GREETING"')
    for is_cached in (False, True):
        for value in ("hello", "bye"):
            patch(agent, GREETING=value)
            assert code.result(is_cached)["stdout"] == value
    expect_json(agent.http.delete("/env"))
    assert code.result(False)["stdout"] == ""
    assert code.result(True, env={"GREETING": "bye"})["stdout"] == "bye", "it is the same environment"
