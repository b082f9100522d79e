# SPDX-License-Identifier: Apache-2.0
"""Rich output of Python through POST /execute, with the real libraries: from a cold start and from a fork server."""

import base64
import sys
from pathlib import Path

import pytest

from lib.agent import Agent, base_path
from lib.captured import FRAME, HTML, PLOTLY, PNG, SVG, TEXT, picture
from lib.expect import expect_result
from lib.waiting import time_factor
from lib.warm import run, wait_ready

# The interpreter of the tests has the libraries; the agent finds it as python3.
PATH = f"{Path(sys.executable).parent}:{base_path()}"

PROGRAM = """
import sys
assert "matplotlib" not in sys.modules and "json" not in sys.modules
import matplotlib.pyplot as plt
import pandas as pd
import plotly.graph_objects as go

frame = pd.DataFrame({"n": [1, 2], "t": ["a", "b"]})
plt.figure(figsize=(3, 2), dpi=100)
plt.plot(frame["n"])
plt.savefig("plot.svg")
plt.close()
plt.figure(figsize=(2, 1), dpi=100)
plt.bar(frame["t"], frame["n"])
plt.show()
display(frame)
go.Figure(go.Bar(y=[1, 2])).show()
plt.figure(figsize=(1, 1), dpi=100)
plt.plot([2, 1])
print("printed")
frame["n"].tolist()
"""


@pytest.fixture(scope="module", params=["cold", "warm"])
def agent(request):
    agent = Agent(environment={"PATH": PATH}, warm="false" if request.param == "cold" else "true", warm_python=1)
    if request.param == "warm":
        expect_result(agent.execute("import pandas"))
        expect_result(agent.execute("pass"))
    agent.is_warm = request.param == "warm"
    yield agent
    agent.close()


def execute(agent, code, **fields):
    """The answer; from a fork server if that agent has one."""
    fields.setdefault("timeout", int(60 * time_factor()))
    if not agent.is_warm:
        response = agent.execute(code, **fields)
        assert response.status_code == 200, response.text
        return response.json()
    for pool in ("python", "python-scientific"):
        wait_ready(agent, pool, timeout=60)
    result, miss = run(agent, code, **fields)
    assert miss is None
    return result


def test_all_of_it(agent):
    result = execute(agent, PROGRAM)
    assert (result["stderr"], result["stdout"], result["exit_code"]) == ("", "printed\n", 0)
    outputs = result["rich_outputs"]
    assert [output["type"] for output in outputs] == [SVG, PNG, HTML, FRAME, TEXT, HTML, PLOTLY, PNG]
    assert outputs[0]["metadata"]["path"] == str(agent.workspace / "plot.svg")
    assert outputs[0]["metadata"]["filename"] == "plot.svg"
    assert outputs[0]["data"] == (agent.workspace / "plot.svg").read_text(encoding="utf-8")
    assert picture(outputs[1]).size == (200, 100)
    assert picture(outputs[7]).size == (100, 100)
    assert result["png"] == outputs[7]["data"]
    assert result["svg"] == outputs[0]["data"]
    assert "Plotly.newPlot" in result["html"]
    assert result["dataframe"]["data"] == [[1, "a"], [2, "b"]]
    assert result["result"] == "[1, 2]"


def test_nothing_drawn(agent):
    result = execute(agent, "import numpy\nx = numpy.arange(3)")
    assert result["rich_outputs"] == [] and "result" not in result


def test_a_failure_keeps_what_was_drawn(agent):
    result = execute(agent, "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.gcf().canvas.no_such_thing")
    assert result["exit_code"] == 1
    assert result["stderr"].startswith("Traceback (most recent call last):\n")
    assert result["stderr"].count("  File ") == 1
    assert [output["type"] for output in result["rich_outputs"]] == [PNG]


def test_ends_of_all_kinds(agent):
    start = "import atexit, matplotlib.pyplot as plt, sys\natexit.register(print, 'end')\nplt.plot([1])\n"
    for code, status in ("sys.exit(3)", 3), ("raise SystemExit", 0), ("raise KeyboardInterrupt", 130):
        result = execute(agent, start + code)
        assert result["exit_code"] == status, result
        assert result["stdout"] == "end\n"
        assert [output["type"] for output in result["rich_outputs"]] == [PNG]


def test_a_hundred_outputs_and_more(agent):
    """The bounds hold all the way: what is left is in order, and what is missing is told."""
    result = execute(agent, """
import numpy
for i in range(104):
    display({"text/plain": str(i)}, raw=True)
""")
    texts = [output["data"] for output in result["rich_outputs"]]
    assert texts == [str(i) for i in range(len(texts))] and 10 <= len(texts) <= 100
    assert result["rich_dropped"] == 104 - len(texts)


def test_a_display_in_a_thread_and_in_a_child(agent):
    result = execute(agent, """
import matplotlib.pyplot as plt, multiprocessing, threading
thread = threading.Thread(target=display, args=("thread",))
thread.start()
thread.join()
plt.plot([1])
context = multiprocessing.get_context("fork")
process = context.Process(target=display, args=("child",))
process.start()
process.join()
""")
    assert result["stderr"] == "" or "Warning" in result["stderr"]
    assert [output["type"] for output in result["rich_outputs"]] == [TEXT, TEXT, PNG]
    assert [output["data"] for output in result["rich_outputs"][:2]] == ["'thread'", "'child'"]


def test_the_single_fields(agent):
    """What clients read that know nothing of the list."""
    result = agent.http.post("/execute/rich", json={"code": PROGRAM, "timeout": int(60 * time_factor())}).json()
    assert base64.b64decode(result["png"]).startswith(b"\x89PNG")
    assert isinstance(result["dataframe"], dict) and isinstance(result["html"], str)
    assert result["rich_outputs"][0]["metadata"]["path"].endswith("/plot.svg")


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("6 * 7", "42"),
        ("x = 1\n5", "5"),
        ("x = 1; 5", "5"),
        ("print(1); 5", "5"),
        ("x = 1\ny = 2; 'a'", "'a'"),
        ("x = 1; 5;", "5"),
        ("'hello'", "'hello'"),
        ("'doc'\n'value'", "'value'"),
        ("'doc'\nx = 1", None),
        ("x = 1", None),
        ("None", None),
        ("print('a; b')", None),
    ],
)
def test_the_last_value(agent, code, result):
    assert execute(agent, code).get("result") == result


def test_a_docstring_stays_one(agent):
    assert execute(agent, "'doc'\nprint(__doc__)")["stdout"] == "doc\n"
