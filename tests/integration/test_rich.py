# SPDX-License-Identifier: Apache-2.0
"""What code displays, in the answer to POST /execute: all of it, in order, within bounds, whoever wrote it."""

import os
import shutil
import signal
import time
import uuid

import pytest

from lib.expect import TIMESTAMP, expect_result
from lib.rich import PNG, data_of, expect_singles, run
from lib.waiting import time_factor

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node")

EVERYTHING = f"""
show("image/png", "first", "base64")
show("application/vnd.plotly.v1+json", {{"data": []}}, "json")
show("image/svg+xml", "<svg>\\u00e9\\n</svg>")
show("text/plain", "plain \\U0001f600")
show("application/json", [1, 2.5, None, {{"a": "b"}}], "json")
show("text/html", "<b>bold</b>", "html")
show("text/markdown", "# *m*")
put(type="application/vnd.dataframe+json", format="json", data={{"columns": ["a"]}}, metadata={{"source": "pandas"}},
    timestamp="2026-01-28T00:00:00Z")
put(type="image/png", format="base64", data="{PNG}", metadata={{"source": "matplotlib"}})
put(result="15")
"""


# The answer


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/execute", "/execute/rich"])
def test_everything_in_order(agent, path):
    result = run(agent, EVERYTHING + "print('out')", path)
    types = [output["type"] for output in result["rich_outputs"]]
    assert types == [
        "image/png", "application/vnd.plotly.v1+json", "image/svg+xml", "text/plain", "application/json", "text/html",
        "text/markdown", "application/vnd.dataframe+json", "image/png",
    ]  # fmt: skip
    expect_singles(result)
    assert result["png"] == PNG and result["result"] == "15"
    assert result["svg"] == "<svg>\u00e9\n</svg>" and result["json"] == [1, 2.5, None, {"a": "b"}]
    assert result["rich_outputs"][7] == {
        "type": "application/vnd.dataframe+json", "format": "json", "data": {"columns": ["a"]},
        "metadata": {"source": "pandas"}, "timestamp": "2026-01-28T00:00:00Z",
    }  # fmt: skip
    assert (result["stdout"], result["stderr"]) == ("out\n", "")
    assert "rich_truncated" not in result and "rich_dropped" not in result


def test_nothing_is_displayed(agent):
    for language, code in ("python", "print(1)"), ("bash", "echo 1"):
        result = expect_result(agent.execute(code, language))
        assert result["rich_outputs"] == []
        assert not {"png", "html", "json", "result", "rich_truncated"} & result.keys()
    assert "rich_outputs" not in expect_result(agent.run("echo 1"))


def test_a_plotly_figure_alone_is_json(agent):
    result = run(agent, 'show("application/vnd.plotly.v1+json", {"data": [1]}, "json")')
    assert result["json"] == result["json_output"] == result["jsonOutput"] == {"data": [1]}


def test_a_failure_keeps_what_came_before(agent):
    result = run(agent, 'show("text/html", "<p>", "html")\nraise ValueError("boom")')
    assert (result["exit_code"], result["html"]) == (1, "<p>")
    assert "ValueError: boom" in result["stderr"]


def test_a_timeout_keeps_what_came_before(agent):
    result = run(agent, 'show("text/html", "<p>", "html")\nimport time\ntime.sleep(1000)', timeout=1 * time_factor())
    assert (result["reason"], result["exit_code"], data_of(result)) == ("timeout", 124, ["<p>"])


def test_large_outputs(agent):
    """Much more than a pipe holds, up to the last byte."""
    result = run(agent, 'for i in range(3): show("image/png", "abcd" * 1000000, "base64")\nput(result="end")')
    assert data_of(result) == ["abcd" * 1000000] * 3
    assert result["png"] == "abcd" * 1000000 and result["result"] == "end"


def test_exact_output_beside_it(agent):
    result = run(agent, 'show("text/html", "<p>", "html")\nos.write(1, b"\\xff")', encoding="base64")
    assert (result["stdout"], result["html"]) == ("/w==", "<p>")


def test_a_repeat_gets_the_same(agent):
    body = {"code": 'import os\nos.write(4, b\'{"type":"a/b","format":"text","data":"%s"}\\n\' % os.urandom(8).hex().encode())'}
    for size in (0, 100000):  # a small answer, and one that is encoded by a worker
        body["code"] += f'\nos.write(4, b\'{{"type":"a/b","format":"text","data":"%s"}}\\n\' % (b"x" * {size}))'
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        first, second = (agent.http.post("/execute", json=body, headers=headers) for _ in range(2))
        assert first.content == second.content and len(first.json()["rich_outputs"]) >= 2


# The drivers


def test_the_value_of_the_last_expression(agent):
    assert expect_result(agent.execute("a = 10\na + 5"))["result"] == "15"


@needs_node
def test_javascript(agent):
    result = expect_result(agent.execute("display('text/html', '<b>1</b>'); const a = 10; a + 5", "javascript"))
    assert (result["html"], result["result"]) == ("<b>1</b>", "15")
    assert TIMESTAMP.match(result["rich_outputs"][0]["timestamp"])


def test_figures(agent):
    if agent.execute("import matplotlib").json()["exit_code"] != 0:
        pytest.skip("no matplotlib")
    code = "import matplotlib.pyplot as plt\nfor i in range(2):\n    plt.plot([1, i])\n    plt.show()"
    result = expect_result(agent.execute(code, timeout=60 * time_factor()))
    assert [output["type"] for output in result["rich_outputs"]] == ["image/png"] * 2
    assert result["png"].startswith("iVBOR") and result["png"] == result["rich_outputs"][1]["data"]


# What is no output


def test_garbage_is_dropped_silently(agent):
    result = run(
        agent,
        """
write(b"garbage\\n\\n{}\\n[1]\\n\\xff\\xfe\\n" + b"x" * 1000000 + b"\\n")
write(b'{"type":"text/plain","format":"text","data":"\\xff"}\\n')
write(b'{"type":"text/plain","format":"text","data":"\\\\ud800"}\\n')
write(b'{"type":"text/plain","format":"json","data":NaN}\\n')
show("text/plain", "good")
write(b'{"type":"text/plain","format":"text","data":"without an end"}')
""",
    )
    assert data_of(result) == ["good", "without an end"]
    assert "rich_dropped" not in result


def test_half_a_line_is_missing(agent):
    """The program was killed in the middle of it, say."""
    result = run(agent, 'show("text/plain", "good")\nwrite(b\'{"type":"text/plain","data":"ba\')')
    assert data_of(result) == ["good"]
    assert (result["rich_truncated"], result["rich_dropped"]) == (True, 1)


# Bounds


@pytest.fixture(scope="module")
def small():
    from lib.agent import Agent

    agent = Agent(rich_max_size="4K", rich_max_count=3, max_discard="8M")
    yield agent
    agent.close()


def test_number(small):
    result = run(small, 'for i in range(5): show("text/plain", str(i))\nput(result="end")')
    assert data_of(result) == ["0", "1", "2"]
    assert (result["rich_truncated"], result["rich_dropped"], result["result"]) == (True, 2, "end")


def test_size(small):
    result = run(small, 'show("text/plain", "x" * 5000)\nshow("text/html", "y" * 3000)\nshow("text/html", "z" * 3000)')
    assert data_of(result) == ["y" * 3000]
    assert (result["rich_dropped"], result["html"]) == (2, "y" * 3000)


def test_one_huge_line(small):
    result = run(small, 'show("text/plain", "x" * 5000000)\nshow("text/plain", "y")')
    assert (data_of(result), result["rich_dropped"]) == (["y"], 1)


@pytest.mark.parametrize("data", [b"x" * 65536, b'{"type":"a/b","format":"text","data":""}\n' * 1000])
def test_endless(small, data):
    """The same limit as for output that nobody keeps."""
    result = run(small, f"data = {data!r}\nwhile True: write(data)")
    assert (result["reason"], result["success"]) == ("output_limit", False)
    assert len(result["rich_outputs"]) <= 3


def test_all_executions_share_a_budget(new_agent):
    agent = new_agent(max_output_total="1M", max_output="64K")
    result = run(agent, 'show("text/plain", "x" * 3000000)\nshow("text/plain", "y")')
    assert (data_of(result), result["rich_dropped"]) == (["y"], 1)
    assert data_of(run(agent, 'show("text/plain", "z" * 300000)')) == ["z" * 300000]


# The descriptor


def test_it_can_be_closed(agent):
    result = run(agent, 'show("text/plain", "before")\nos.close(4)\nprint("still here")')
    assert (data_of(result), result["stdout"], result["exit_code"]) == (["before"], "still here\n", 0)


def test_who_holds_it_alone_delays_nothing(agent):
    text = (
        "import subprocess\nshow('text/plain', 'kept')\n"
        "quiet = dict(stdin=-3, stdout=-3, stderr=-3, start_new_session=True)\n"
        "print(subprocess.Popen(['sleep', '1000'], pass_fds=[4], **quiet).pid)"
    )
    start = time.monotonic()
    result = run(agent, text)
    assert time.monotonic() - start < 20 * time_factor()
    assert (data_of(result), result["reason"]) == (["kept"], "exit")
    os.kill(int(result["stdout"]), signal.SIGKILL)
    agent.wait_until_idle()
