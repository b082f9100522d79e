# SPDX-License-Identifier: Apache-2.0
"""Tables of pandas, figures of plotly, images of PIL, and IPython's display where it is installed."""

import json

import pytest

from lib.captured import FRAME, HTML, PLOTLY, PNG, SCIENTIFIC, TEXT, Runner, picture


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    runner = Runner(tmp_path_factory.mktemp("scientific"), preload=SCIENTIFIC)
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def cold(tmp_path_factory):
    runner = Runner(tmp_path_factory.mktemp("cold"))
    yield runner
    runner.close()


TABLE = """
import pandas as pd
frame = pd.DataFrame({"name": ["ä", "<b>"], "n": [1, 2]}, index=["r1", "r2"])
"""


@pytest.mark.parametrize("how", ["run", "cold"])
def test_a_table_as_value(request, how):
    captured = request.getfixturevalue(how)(TABLE + "frame").ended_well()
    assert captured.types() == [HTML, FRAME, TEXT]
    html, data, text = captured.outputs
    assert "<td>ä</td>" in html["data"] and "<td>&lt;b&gt;</td>" in html["data"] and "<th>r2</th>" in html["data"]
    assert html["format"] == "html"
    assert data["data"] == {"columns": ["name", "n"], "index": ["r1", "r2"], "data": [["ä", 1], ["<b>", 2]],
                            "dtypes": data["data"]["dtypes"], "shape": [2, 2], "truncated": False}
    assert data["data"]["dtypes"][1] == "int64"
    assert text["data"].split() == ["name", "n", "r1", "ä", "1", "r2", "<b>", "2"]
    for output in captured.outputs:
        metadata = output["metadata"]
        assert (metadata["source"], metadata["rows"], metadata["columns"]) == ("pandas", 2, 2)
        assert metadata["group"] == html["metadata"]["group"]
    assert captured.results == [text["data"]]


def test_tables_displayed_and_printed(run):
    captured = run(TABLE + "display(frame, frame['n'])\nprint(frame)").ended_well()
    assert captured.types() == [HTML, FRAME, TEXT] * 2
    assert [output["metadata"]["group"] for output in captured.outputs] == ["1"] * 3 + ["2"] * 3
    assert captured.outputs[4]["data"]["columns"] == ["n"]
    assert captured.outputs[4]["data"]["data"] == [[1], [2]]
    assert captured.outputs[4]["data"]["name"] == "n"
    assert "<td>2</td>" in captured.outputs[3]["data"]
    assert captured.stdout.split()[0] == "name"


def test_rows_are_bounded(run):
    captured = run("import pandas as pd\npd.options.display.max_rows = None\n"
                   "pd.DataFrame({'n': range(200_000), 'm': range(200_000)})").ended_well()
    html, data = captured.only(HTML), captured.only(FRAME)
    assert html["data"].count("<tr") in (61, 62)  # one for those left out
    assert html["metadata"]["truncated"] is True
    assert len(data["data"]["data"]) == 1000 and data["data"]["data"][-1] == [999, 999]
    assert data["data"]["shape"] == [200_000, 2] and data["data"]["truncated"] is True
    assert data["metadata"]["rows"] == 200_000 and data["metadata"]["truncated"] is True
    assert len(captured.results[0].encode()) <= 1 << 20


def test_columns_are_bounded(run):
    captured = run("import pandas as pd, numpy as np\npd.DataFrame(np.zeros((3, 1000)))").ended_well()
    assert len(captured.only(FRAME)["data"]["columns"]) == 200
    assert captured.only(FRAME)["data"]["truncated"] is True
    assert captured.only(HTML)["data"].count("<th>") < 60


def test_long_texts_are_bounded(run):
    captured = run("import pandas as pd\npd.DataFrame({'t': ['x' * 20_000] * 1000})").ended_well()
    data = captured.only(FRAME)["data"]
    assert 0 < len(data["data"]) < 1000 and data["truncated"] is True
    assert data["data"][0] == ["x" * 20_000]


def test_values_of_all_kinds(run):
    captured = run("""
import datetime, decimal, numpy as np, pandas as pd
display(pd.DataFrame({
    "float": [1.5, float("nan")], "time": [pd.Timestamp("2020-01-02", tz="UTC"), pd.NaT],
    "delta": [pd.Timedelta(hours=1), pd.NaT], "period": [pd.Period("2020-01", "M"), pd.NaT],
    "int": pd.array([1, None], dtype="Int64"), "bool": [True, False], "category": pd.Categorical(["a", None]),
    "odd": [decimal.Decimal("1.5"), b"x"], "more": [np.float32(0.5), np.datetime64("2020-01-01")],
    "list": [[1, np.int8(2)], {"k": {3}}], "inf": [float("inf"), 1 << 62], "complex": [1j, 2],
    "long": [np.longdouble(0.5), np.bool_(True)], "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2)]),
    "date": [datetime.date(2020, 1, 1), datetime.timedelta(1)]}))
""").ended_well()
    first, second = captured.only(FRAME)["data"]["data"]
    assert first == [1.5, "2020-01-02T00:00:00+00:00", "P0DT1H0M0S", "2020-01", 1, True, "a", "1.5", 0.5, [1, 2],
                     None, "1j", 0.5, "(0, 1]", "2020-01-01"]
    assert second == [None, None, None, None, None, False, None, "x", "2020-01-01", {"k": [3]}, float(1 << 62),
                      "(2+0j)", True, "(1, 2]", "1 day, 0:00:00"]


def test_labels_of_all_kinds(run):
    captured = run("""
import pandas as pd
index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
display(pd.DataFrame([[1, 2], [3, 4]], index=index, columns=pd.MultiIndex.from_tuples([("u", None), ("v", 1)])))
display(pd.DataFrame([[1, 2]], columns=["same", "same"], index=pd.date_range("2020-01-01", periods=1)))
display(pd.DataFrame())
display(pd.DataFrame(index=[1, 2]))
""").ended_well()
    multiple, same, empty, narrow = [output["data"] for output in captured.outputs if output["type"] == FRAME]
    assert multiple["index"] == [["a", 1], ["b", 2]]
    assert multiple["columns"][1] == ["v", 1]
    assert same["columns"] == ["same", "same"] and same["data"] == [[1, 2]]
    assert same["index"] == ["2020-01-01T00:00:00"]
    assert (empty["data"], empty["shape"]) == ([], [0, 0])
    assert narrow["data"] == [[], []]


def test_drawing_a_table_is_quiet(run):
    """No option of the program's is changed, and nothing is printed."""
    captured = run("""
import pandas as pd
pd.options.display.max_rows = 7
pd.options.display.notebook_repr_html = False
display(pd.DataFrame({"n": range(100)}))
print(pd.options.display.max_rows, pd.options.display.notebook_repr_html)
""").ended_well()
    assert captured.stdout == "7 False\n"
    assert "<td>30</td>" not in captured.only(TEXT)["data"]
    assert captured.only(HTML)["data"].startswith("<div>")


@pytest.mark.parametrize("how", ["run", "cold"])
def test_plotly(request, how):
    captured = request.getfixturevalue(how)("""
import plotly.graph_objects as go
figure = go.Figure(go.Bar(x=["a", "b"], y=[1, 2]), layout={"title": {"text": "bars"}})
print(figure.show())
figure.show("browser")
import plotly.io
plotly.io.show({"data": [{"type": "scatter", "y": [1]}]})
figure
""").ended_well()
    assert captured.types() == [HTML, PLOTLY] * 4
    html, data = captured.outputs[:2]
    assert data["format"] == "json"
    assert data["data"]["data"][0]["type"] == "bar" and data["data"]["data"][0]["y"] == [1, 2]
    assert data["data"]["layout"]["title"]["text"] == "bars"
    assert captured.outputs[5]["data"]["data"][0]["type"] == "scatter"
    assert "Plotly.newPlot" in html["data"] and "<script" in html["data"]
    assert len(html["data"]) < 100_000  # plotly.js is referred to, not contained
    assert {output["metadata"]["source"] for output in captured.outputs} == {"plotly"}
    assert captured.stdout == "None\n"
    assert len(captured.results) == 1


@pytest.mark.parametrize("how", ["run", "cold"])
def test_images(request, how):
    captured = request.getfixturevalue(how)("""
from PIL import Image
image = Image.new("RGB", (30, 20), "red")
image.putpixel((3, 4), (0, 0, 255))
image.show()
image.show("title")
for mode in "1", "L", "CMYK", "RGBA", "P", "F", "HSV", "LA", "YCbCr":
    display(image.convert(mode))
image
""").ended_well()
    assert captured.types() == [PNG, TEXT] * 12
    pictures = [picture(output) for output in captured.outputs if output["type"] == PNG]
    assert {image.size for image in pictures} == {(30, 20)}
    assert pictures[0].getpixel((3, 4)) == (0, 0, 255) and pictures[0].getpixel((0, 0)) == (255, 0, 0)
    assert captured.outputs[0]["metadata"]["object"] == "PIL.Image"


def test_images_are_bounded(run):
    captured = run("""
import numpy as np
from PIL import Image
display(Image.new("1", (9000, 3000)).rotate(0), Image.fromarray(
    np.random.default_rng(1).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)), Image.new("RGB", (0, 3)))
""").ended_well()
    large, noise = [output["metadata"] for output in captured.outputs if output["type"] == PNG]
    assert large["truncated"] is True and large["width"] == 9000
    assert noise["truncated"] is True and noise["size"] <= 6 << 20
    assert captured.types()[-1] == TEXT


def test_ipython_where_it_is_installed(cold):
    captured = cold("""
from IPython.display import display as show, HTML, Image, Markdown, JSON, clear_output, update_display, DisplayHandle
import IPython
show(HTML("<b>x</b>"), Markdown("# m"))
IPython.display.display(JSON({"a": [1]}))
show({"text/html": "<p>"}, raw=True)
handle = show("x", display_id="name")
handle.update("y")
update_display("z", display_id="name")
DisplayHandle("other").display("w")
clear_output()
print(IPython.get_ipython(), IPython.__file__ is not None)
HTML("last")
""").ended_well()
    assert captured.stdout == "None True\n"
    assert captured.types() == [HTML, TEXT, "text/markdown", TEXT, "application/json", TEXT, HTML, TEXT, TEXT, TEXT,
                                TEXT, HTML, TEXT]
    assert [output["data"] for output in captured.outputs[7:11]] == ["'x'", "'y'", "'z'", "'w'"]
    assert {output["metadata"]["display_id"] for output in captured.outputs[7:10]} == {"name"}
    assert captured.results == ["<IPython.core.display.HTML object>"]


def test_a_program_that_uses_all_of_it(cold):
    captured = cold(TABLE + """
import sys
import matplotlib.pyplot as plt
plt.figure(figsize=(2, 2))
plt.plot(frame["n"])
plt.show()
display(frame)
print("plotly" in sys.modules, "IPython" in sys.modules)
frame["n"].sum()
""").ended_well()
    assert captured.types() == [PNG, HTML, FRAME, TEXT]
    assert captured.stdout == "False False\n"
    assert len(captured.results) == 1 and "3" in captured.results[0]
    json.dumps(captured.outputs, allow_nan=False)
