# SPDX-License-Identifier: Apache-2.0
"""The result cache: what is kept, for whom and for how long."""

import base64
import os
import signal
import time
import uuid

import pytest

from lib import tokens
from lib.cache import Counted, clear, stats, without_marks
from lib.expect import expect_error, expect_json, expect_result
from lib.sdk import async_sandbox, control_plane, fresh_token_cache  # noqa: F401 (fixtures)
from lib.waiting import wait_until

@pytest.mark.smoke
def test_the_second_one_does_not_run(agent):
    code = Counted(agent, "echo out; echo err >&2")
    first = code.result(False)
    assert (first["stdout"], first["stderr"], first["cache_age"]) == ("out\n", "err\n", 0)
    for _ in range(5):
        again = code.result(True)
        assert without_marks(again) == without_marks(first)
        assert again["timestamp"] >= first["timestamp"]
    assert code.runs() == 1


def test_only_for_those_who_ask(agent):
    code = Counted(agent)
    code.result(False)
    for fields in {"cache": False}, {"cache": None}:
        result = expect_result(code.post(**fields))
        assert not {"cached", "cache_age"} & set(result)
    assert code.runs() == 3
    code.result(True)
    assert code.runs() == 3


def test_by_default_where_the_operator_says_so(new_agent):
    agent = new_agent(cache="true")
    code = Counted(agent)
    del code.document["cache"]
    code.result(False)
    code.result(True)
    assert "cached" not in expect_result(code.post(cache=False))
    assert code.runs() == 2
    assert stats(agent)["cache"]["enabled"] is True


CHANGES = [
    {"code": "echo done"},
    {"language": "python", "code": "print('done')"},
    {"env": {"A": "1"}},
    {"env": {"A": "2"}},
    {"env": {"A": "1", "B": ""}},
    {"workdir": "/tmp"},
    {"stdin": "x"},
    {"stdin": "eA==", "stdin_encoding": "base64"},
    {"encoding": "base64"},
    {"timeout": 59},
    {"kill_grace": 1},
    {"something": {"new": [1, 2]}},
    {"something": {"new": [2, 1]}},
]


def test_the_key(agent):
    """Each change of the request makes another execution of it, and none of them is forgotten."""
    code = Counted(agent)
    for is_cached in False, True:
        code.result(is_cached)
        for change in CHANGES:
            code.result(is_cached, **change)


SAME = [
    {"language": "sh"},
    {"env": {}},
    {"workdir": "."},
    {"timeout": 60},
    {"timeout": 60.0},
    {"stdin": ""},
    {"encoding": "utf8"},
    {"cache_ttl": 100},
    {"cache_inputs": []},
]


def test_the_same_in_other_words(agent):
    code = Counted(agent)
    code.result(False, env=None)
    for change in [*SAME, {"working_dir": str(agent.workspace)}, {"workdir": f"{agent.workspace}/."}]:
        code.result(True, **change)
    code.result(False, env={"A": "1", "B": "2"})
    code.result(True, env={"B": "2", "A": 1})


def test_the_interpreter_counts(agent):
    """Two of one name, in two directories, and then another one in place of the first."""
    directory = agent.workspace / uuid.uuid4().hex
    directory.mkdir()
    bash = directory / "bash"
    bash.write_text("#!/bin/sh\necho one\n")
    bash.chmod(0o755)
    code = Counted(agent)
    path = f"{directory}:/usr/bin:/bin"
    assert code.result(False)["stdout"] == "done\n"
    assert code.result(False, env={"PATH": path})["stdout"] == "one\n"
    assert code.result(True, env={"PATH": path})["stdout"] == "one\n"
    bash.write_text("#!/bin/sh\necho another\n")
    assert code.result(False, env={"PATH": path})["stdout"] == "another\n"


def test_a_package_that_is_installed_counts(agent):
    home = agent.workspace / uuid.uuid4().hex
    packages = home / ".local" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    fields = {"code": "print(1)", "language": "python", "env": {"HOME": str(home)}}
    code = Counted(agent)
    code.result(False, **fields)
    code.result(True, **fields)
    os.utime(packages, (1, 1))
    code.result(False, **fields)


def test_a_home_is_no_pattern(agent):
    """What a request says is the name of one directory: else its packages might be sought everywhere."""
    home = agent.workspace / uuid.uuid4().hex
    packages = home / ".local" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    fields = {"code": "print(1)", "language": "python", "env": {"HOME": f"{str(home)[:-1]}?"}}
    code = Counted(agent)
    code.result(False, **fields)
    os.utime(packages, (1, 1))
    code.result(True, **fields)


def test_bytes(agent):
    """What is kept is what was written, whatever it is."""
    data = bytes(range(256)) * 300
    code = {
        "code": f"import os, sys\nd = bytes(range(256)) * 300\nsys.stdout.buffer.write(d)  # {uuid.uuid4().hex}",
        "encoding": "base64",
        "cache": True,
    }
    for is_cached in False, True:
        result = expect_result(agent.http.post("/execute", json=code))
        assert result["cached"] is is_cached
        assert base64.b64decode(result["stdout"]) == data
    text = [expect_result(agent.http.post("/execute", json={**code, "encoding": "utf-8"})) for _ in range(2)]
    assert [result["cached"] for result in text] == [False, True]
    assert without_marks(text[0]) == without_marks(text[1])
    assert text[1]["stdout"] == data.decode(errors="replace")


@pytest.mark.parametrize("then,expected", [("exit 3", (3, "exit")), ("kill -9 $$", (137, "signal"))])
def test_failures_are_not_kept(agent, then, expected):
    code = Counted(agent, then)
    for n in 1, 2:
        result = expect_result(code.post(), *expected)
        assert result["cached"] is False
        assert code.runs() == n


def test_a_timeout_is_not_kept(agent):
    code = Counted(agent, "sleep 60")
    for n in 1, 2:
        result = expect_result(code.post(timeout=0.2), 124, "timeout")
        assert result["cached"] is False
        assert "timed out" in result["stderr"]
        assert code.runs() == n


def test_what_was_cut_is_not_kept(new_agent):
    agent = new_agent(max_output="4K")
    code = Counted(agent, "head -c 5000 /dev/zero")
    for n in 1, 2:
        assert code.result(False)["stdout_truncated"] is True
        assert code.runs() == n


def test_errors(agent):
    code = Counted(agent)
    for _ in range(2):
        expect_error(code.post(workdir="/no/such/place"), 400, "WORKDIR_NOT_FOUND", "/workdir")
        expect_error(code.post(env={"PATH": "/none"}), 400, "RUNTIME_NOT_AVAILABLE", "/language")
        expect_error(code.post(cache="perhaps"), 400, "INVALID_REQUEST", "/cache")
        expect_error(code.post(cache_ttl=-1), 400, "INVALID_REQUEST", "/cache_ttl")
        expect_error(code.post(cache_inputs="name"), 400, "INVALID_REQUEST", "/cache_inputs")
        expect_error(code.post(cache_inputs=[1]), 400, "INVALID_REQUEST", "/cache_inputs/0")
    assert code.runs() == 0


def test_time(new_agent):
    agent = new_agent(cache_ttl="300ms")
    code = Counted(agent)
    code.result(False)
    wait_until(lambda: not expect_result(code.post())["cached"], "a second run")
    wait_until(lambda: stats(agent)["count"] == 0, "an empty cache")
    assert stats(agent)["size"] == 0


def test_the_time_of_a_request(agent):
    code = Counted(agent)
    code.result(False)
    born = time.monotonic()
    assert code.result(True)["cache_age"] <= time.monotonic() - born + 0.1
    code.result(False, cache_ttl=0)  # nothing is fresh enough, and it is not kept either
    assert code.runs() == 2
    age = code.result(True)["cache_age"]
    wait_until(lambda: code.result(True)["cache_age"] > age + 0.05, "an older result")
    code.result(False, cache_ttl=0.05)  # too old for this one
    assert code.runs() == 3
    wait_until(lambda: not expect_result(code.post())["cached"], "the end of the one that was kept for so long")


def test_least_recently_used_goes_first(new_agent):
    agent = new_agent(cache_max_size="64K")
    codes = [Counted(agent, f"head -c 7500 /dev/zero | tr '\\0' {n}") for n in range(9)]
    for code in codes[:8]:
        code.result(False)
    codes[0].result(True)
    codes[8].result(False)  # in place of the second
    for n in 0, 2, 3, 4, 5, 6, 7, 8:
        codes[n].result(True)
    codes[1].result(False)
    numbers = stats(agent)
    assert numbers["size"] <= numbers["cache"]["max_size"] == 64 * 1024
    assert numbers["count"] == 8 and numbers["cache"]["evicted"] == 2


def test_less_room_after_a_reload(new_agent, tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text("cache-max-size = 1M\n")
    agent = new_agent(config=file)
    for n in range(3):
        Counted(agent, f"head -c 40000 /dev/zero | tr '\\0' {n}").result(False)
    assert stats(agent)["count"] == 3
    file.write_text("cache-max-size = 100K\n")
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in agent.log(), "reload")
    numbers = stats(agent)
    assert (numbers["count"], numbers["cache"]["evicted"]) == (2, 1) and numbers["size"] <= 100 << 10


def test_one_takes_an_eighth_at_most(new_agent):
    agent = new_agent(cache_max_size="64K")
    code = Counted(agent, "head -c 9000 /dev/zero | tr '\\0' x")
    for n in 1, 2:
        assert code.result(False)["stdout"] == "x" * 9000
        assert code.runs() == n
    # Small enough by itself, but not as JSON: every byte is six there.
    code = Counted(agent, "head -c 2000 /dev/zero | tr '\\0' '\\1'")
    for n in 1, 2:
        assert code.result(False)["stdout"] == "\1" * 2000
        assert code.runs() == n
    assert stats(agent)["count"] == 0


def test_large_results(new_agent):
    agent = new_agent(cache_max_size="64M")
    code = Counted(agent, "head -c 5000000 /dev/zero | tr '\\0' y")
    for is_cached in False, True, True:
        assert code.result(is_cached)["stdout"] == "y" * 5000000
    done = clear(agent)
    assert done["cleared_entries"] == 1 and done["freed_bytes"] > 5000000
    code.result(False)


def test_statistics(new_agent):
    agent = new_agent(cache_ttl="90m", cache_max_size="1M")
    code = Counted(agent)
    for is_cached in False, True, True:
        code.result(is_cached)
    expect_result(code.post(cache=False))
    numbers = stats(agent)
    assert (numbers["hits"], numbers["misses"], numbers["count"]) == (2, 1, 1)
    assert numbers["hit_rate"] == pytest.approx(2 / 3)
    cache = numbers["cache"]
    assert cache["total_hits"] == 2 and cache["total_misses"] == 1
    assert 100 < cache["size"] == numbers["size"] < 2000
    assert (cache["max_size"], cache["ttl"], cache["enabled"]) == (1 << 20, "1h30m0s", False)
    whole = expect_json(agent.http.get("/cache"))
    assert {"agent", "status", "version", "vm_id", "message"} <= set(whole)
    assert {name: whole[name] for name in ("cache", "hits", "misses", "count")} == {
        name: numbers[name] for name in ("cache", "hits", "misses", "count")
    }
    seen = expect_json(agent.http.get("/metrics/snapshot"))["cache"]
    expected = {name: numbers[name] for name in ("size", "hits", "misses", "hit_rate")}
    assert seen == {**expected, "entries": numbers["count"]}

    done = clear(agent)
    assert done["success"] is True and done["message"] == "Cache cleared successfully"
    assert done["cleared_entries"] == done["entries_removed"] == 1
    assert done["freed_bytes"] == numbers["size"]
    numbers = stats(agent)
    assert (numbers["size"], numbers["count"], numbers["hits"]) == (0, 0, 2)
    assert clear(agent)["cleared_entries"] == 0
    code.result(False)


def test_streams_and_jobs_take_no_notice(agent):
    code = Counted(agent)
    code.result(False)
    response = expect_json(agent.http.post("/execute/background", json=code.document))
    wait_until(
        lambda: agent.http.get(f"/execute/processes/{response['process_id']}").json()["status"] != "running",
        "end of the job",
    )
    assert code.runs() == 2


def test_the_python_client(agent):
    from hopx_ai import Sandbox

    sandbox = Sandbox.debug(agent.url, tokens.token())
    try:
        Counted(agent).result(False)
        numbers = sandbox.cache.stats()
        assert numbers["cache"]["total_hits"] == numbers["hits"]
        assert numbers["count"] >= 1
        sandbox.cache.clear()
        assert sandbox.cache.stats()["count"] == 0
    finally:
        sandbox._agent_client.close()


async def test_the_asynchronous_python_client(agent, async_sandbox):  # noqa: F811
    Counted(agent).result(False)
    assert (await async_sandbox.cache.stats())["cache"]["max_size"] > 0
    await async_sandbox.cache.clear()
    assert stats(agent)["count"] == 0


def displaying(agent, n):
    """Code that displays so much, by hand."""
    line = '{"type": "text/html", "format": "html", "data": "<b>x</b>"}\n'
    return Counted(agent), {"code": f"import os\nos.write(4, {n} * {line.encode()!r})", "language": "python"}


def test_rich_output(agent):
    code, fields = displaying(agent, 2)
    first = code.result(False, **fields)
    assert first["html"] == "<b>x</b>" and len(first["rich_outputs"]) == 2
    assert without_marks(code.result(True, **fields)) == without_marks(first)
    answers = [agent.http.post("/execute/rich", json={**code.document, **fields}) for _ in range(2)]
    assert [expect_result(answer)["cached"] for answer in answers] == [False, True]


def test_rich_output_that_was_cut_is_not_kept(new_agent):
    code, fields = displaying(new_agent(rich_max_count=2), 3)
    for _ in range(2):
        assert code.result(False, **fields)["rich_dropped"] == 1
