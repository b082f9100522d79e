# SPDX-License-Identifier: Apache-2.0
"""Figures of matplotlib and seaborn as rich output. Most programs run in children of an interpreter that has the
libraries already, as those of a fork server do; some start without them, as a cold driver does."""

import xml.etree.ElementTree

import pytest

from lib.captured import PNG, SCIENTIFIC, SVG, TEXT, Runner, content, picture


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


def numbers(captured):
    return [output["metadata"].get("figure") for output in captured.outputs]


BASIC = """
import matplotlib.pyplot as plt
plt.figure(figsize=(4, 3), dpi=50)
plt.plot([1, 3, 2])
plt.title("one")
print(plt.get_backend().lower(), "MPLBACKEND" in __import__("os").environ)
plt.plot([2, 1])
"""


@pytest.mark.parametrize("how", ["run", "cold"])
def test_an_open_figure_is_drawn_at_the_end(request, how):
    captured = request.getfixturevalue(how)(BASIC).ended_well()
    output, = captured.outputs
    assert picture(output).size == (200, 150)
    assert (output["type"], output["format"]) == (PNG, "base64")
    about = output["metadata"]
    assert (about["source"], about["figure"], about["width"], about["height"]) == ("matplotlib", 1, 200, 150)
    assert captured.stdout == "agg False\n"
    assert captured.results == []  # lists of lines say nothing


def test_figures_in_order_and_those_without_content_not(run):
    captured = run("""
import matplotlib.pyplot as plt
for number, size in (7, 3), (2, 2), (5, 4):
    plt.figure(number, figsize=(size, 1), dpi=40)
    if number != 5:
        plt.plot([number])
plt.figure(3, figsize=(1, 1), dpi=40).text(0.5, 0.5, "text")
plt.close(plt.figure(1))
""").ended_well()
    assert numbers(captured) == [2, 3, 7]
    assert [picture(output).width for output in captured.outputs] == [80, 40, 120]


@pytest.mark.parametrize("how", ["run", "cold"])
def test_show_is_that_of_a_notebook(request, how):
    captured = request.getfixturevalue(how)("""
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.figure(); plt.bar([1], [2])
plt.show()
print(plt.get_fignums())
display("between")
plt.plot([2, 1])
plt.show(block=False)
plt.show()
""").ended_well()
    assert captured.types() == [PNG, PNG, TEXT, PNG]
    assert captured.stdout == "[]\n"
    assert len({output["data"] for output in captured.outputs}) == 4
    for output in captured.outputs[:2]:
        picture(output)


def test_display_of_a_figure(run):
    captured = run("""
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2])
display(figure)
display("between")
figure
""").ended_well()
    # Once by display(), once as the value; not again at the end.
    assert captured.types() == [PNG, TEXT, PNG]
    assert captured.outputs[0]["data"] == captured.outputs[2]["data"]


def test_a_figure_changed_since_is_drawn_again(run):
    captured = run("""
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2])
figure.show()
figure.show()
print(axes.get_xlim()[0] < 0)
display("between")
axes.plot([2, 1])
""").ended_well()
    assert captured.types() == [PNG, TEXT, PNG]
    assert captured.outputs[0]["data"] != captured.outputs[2]["data"]


def test_show_of_a_figure_without_window_fails_as_ever(run):
    captured = run("import matplotlib.figure\nmatplotlib.figure.Figure().show()")
    assert captured.status == 1
    assert "AttributeError" in captured.stderr
    assert captured.outputs == []


@pytest.mark.parametrize("choice", [
    "plt.rcParams['savefig.format'] = 'svg'",
    "from matplotlib_inline.backend_inline import set_matplotlib_formats; set_matplotlib_formats('svg')",
])
def test_svg_as_well_if_it_was_chosen(run, choice):
    captured = run(f"""
import matplotlib.pyplot as plt
{choice}
plt.plot([1, 2]); plt.title("drawn")
""").ended_well()
    assert captured.types() == [SVG, PNG]
    assert len({output["metadata"]["group"] for output in captured.outputs}) == 1
    svg = captured.only(SVG)
    assert svg["format"] == "text"
    assert xml.etree.ElementTree.fromstring(svg["data"]).tag == "{http://www.w3.org/2000/svg}svg"
    picture(captured.only(PNG))


def test_resolution_and_margins_are_what_was_asked_for(run):
    captured = run("""
import matplotlib.pyplot as plt
plt.rcParams.update({"savefig.dpi": 30, "savefig.facecolor": "red"})
plt.figure(figsize=(4, 2), dpi=200); plt.plot([1])
plt.show()
plt.rcParams["savefig.bbox"] = "tight"
plt.figure(figsize=(4, 2)); plt.text(0.5, 0.5, "x"); plt.axis("off")
""").ended_well()
    first, second = map(picture, captured.outputs)
    assert first.size == (120, 60)
    assert first.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert second.width < 120


def test_pixels_are_bounded(run):
    captured = run("import matplotlib.pyplot as plt\nplt.figure(figsize=(100, 50), dpi=300)\nplt.plot([1, 2])")
    metadata = captured.ended_well().outputs[0]["metadata"]
    assert 15_000_000 < metadata["width"] * metadata["height"] <= 16_100_000
    assert abs(metadata["width"] / metadata["height"] - 2) < 0.01


def test_a_large_picture_is_drawn_smaller_and_a_large_file_is_told(run):
    captured = run("""
import matplotlib.pyplot as plt, numpy as np
figure = plt.figure(figsize=(15, 15), dpi=100)
figure.figimage(np.random.default_rng(1).integers(0, 255, (1500, 1500, 3), dtype=np.uint8))
plt.savefig("large.png", pil_kwargs={"compress_level": 1})
""").ended_well()
    file, drawn = captured.outputs
    assert file["data"] == "" and file["metadata"]["truncated"] is True
    assert file["metadata"]["size"] == (captured.directory / "large.png").stat().st_size > 6 << 20
    assert 1 << 20 < len(content(drawn)) <= 6 << 20


@pytest.mark.parametrize("how", ["run", "cold"])
def test_a_saved_file_is_an_output(request, how):
    captured = request.getfixturevalue(how)("""
import matplotlib.pyplot as plt, os, pathlib
os.mkdir("plots")
plt.plot([1, 2])
plt.savefig("plots/a.png", dpi=20)
plt.savefig(pathlib.Path("b"), format="svg")
plt.savefig("c")
plt.gcf().savefig(fname=os.path.abspath("d.pdf"))
""").ended_well()
    assert captured.types() == [PNG, SVG, PNG, "application/pdf"]
    names = ["plots/a.png", "b", "c.png", "d.pdf"]
    for name, output in zip(names, captured.outputs):
        path = captured.directory / name
        assert output["metadata"]["path"] == str(path)
        assert output["metadata"]["filename"] == path.name
        assert output["metadata"]["source"] == "matplotlib"
        assert output["metadata"]["size"] == path.stat().st_size
        if output["type"] != SVG:
            assert content(output) == path.read_bytes()
    assert captured.outputs[1]["data"] == (captured.directory / "b").read_text(encoding="utf-8")
    assert picture(captured.outputs[0]).size == (128, 96)


@pytest.mark.parametrize(("code", "types"), [
    ("plt.savefig('a.png')\nplt.show()", [PNG]),
    ("plt.savefig('a.pdf')", ["application/pdf", PNG]),
    ("plt.savefig('a.png')\nplt.plot([3])", [PNG, PNG]),
    ("plt.savefig('a.png')\nplt.close()", [PNG]),
    ("import io\nplt.savefig(io.BytesIO())", [PNG]),
    ("plt.savefig(open('a.png', 'wb'))", [PNG]),
    ("import tempfile\nplt.savefig(tempfile.mkdtemp() + '/a.png')", [PNG]),
    ("import tempfile\nplt.savefig(tempfile.mkdtemp() + '/a.png')\nplt.close()", []),
    ("import os, tempfile\nos.chdir(tempfile.mkdtemp())\nplt.savefig('a.png')\nplt.close()", [PNG]),
])
def test_a_saved_figure_is_an_output_once(run, code, types):
    assert run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n" + code).ended_well().types() == types


def test_a_file_in_the_workspace_is_an_output_wherever_the_program_is(run, tmp_path):
    code = f"import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig({str(tmp_path / 'a.png')!r})\nplt.close()"
    assert run(code).ended_well().types() == []
    captured = run(code, env={"TEST_WORKSPACE": str(tmp_path)}).ended_well()
    assert captured.only(PNG)["metadata"]["path"] == str(tmp_path / "a.png")


def test_a_failure_to_save_is_the_programs(run):
    captured = run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('no/such/a.png')")
    assert captured.status == 1
    assert "FileNotFoundError" in captured.stderr
    assert captured.types() == [PNG]


def test_drawing_neither_warns_nor_fails(run):
    captured = run("""
import matplotlib.pyplot as plt, warnings
warnings.simplefilter("error")
plt.title("\\u4e2d\\U000f0000", fontfamily="No Such Font")
plt.show()
plt.title("$\\\\frac{$")
plt.show()
print("on")
""").ended_well()
    assert captured.types() == [PNG, TEXT]
    assert captured.outputs[1]["data"].startswith("This figure could not be drawn: ValueError")
    assert "ValueError" in captured.outputs[1]["metadata"]["errors"][PNG]
    assert captured.stdout == "on\n"


def test_what_was_drawn_before_a_failure(run):
    captured = run("import matplotlib.pyplot as plt\nplt.plot([1])\nraise ValueError('late')")
    assert captured.status == 1
    assert captured.types() == [PNG]
    assert "vm_agent_capture" not in captured.stderr


def test_forked_children_leave_open_figures_to_their_parent(run):
    captured = run("""
import matplotlib.pyplot as plt, os, sys
plt.plot([1])
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
else:
    display("child")
sys.exit(0)
""").ended_well()
    assert captured.types() == [TEXT, PNG]


@pytest.mark.parametrize("expression", [
    "plt.plot([1])", "plt.title('x')", "plt.hist([1, 2])", "plt.subplots()[1]", "plt.subplots(2, 2)[1]", "plt.gca()",
    "plt.boxplot([1, 2])", "plt.bar([1], [2])", "plt.pie([1, 2])", "(plt.plot([1], label='l'), plt.legend())",
    "__import__('pandas').Series([1, 2]).plot()",
])
def test_what_plotting_returns_is_no_result(run, expression):
    captured = run("import matplotlib.pyplot as plt\n" + expression).ended_well()
    assert captured.results == []
    assert captured.types() == [PNG]


def test_other_results_are(run):
    assert run("import matplotlib.pyplot as plt\n[1, 2]").ended_well().results == ["[1, 2]"]
    assert run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.xlim(0, 2)").ended_well().results == ["(0.0, 2.0)"]


@pytest.mark.parametrize("choice", ["matplotlib.use('svg')", "matplotlib.use('pdf')"])
def test_other_backends(run, choice):
    captured = run(f"import matplotlib\n{choice}\nfrom matplotlib.figure import Figure\nf = Figure()\n"
                   "f.add_subplot().plot([1])\nf").ended_well()
    picture(captured.only(PNG))


def test_the_environment_chooses_the_backend(cold):
    captured = cold("import matplotlib\nprint(matplotlib.rcParams['backend'])", env={"MPLBACKEND": "svg"})
    assert captured.ended_well().stdout == "svg\n"


def test_patched_functions_look_as_before(cold):
    captured = cold("""
import inspect, matplotlib.pyplot as plt, matplotlib.figure, pickle
for function in plt.show, matplotlib.figure.Figure.savefig, matplotlib.figure.Figure.show:
    source = inspect.getsource(function)
    print(function.__module__, function.__qualname__, source.count("vm_agent"), bool(function.__doc__))
print(inspect.signature(matplotlib.figure.Figure.savefig))
figure = plt.figure()
figure.add_subplot().plot([1])
display(figure)
pickle.loads(pickle.dumps(figure))
import copy, io
copy.deepcopy(figure)
plt.close("all")
""").ended_well()
    lines = captured.stdout.splitlines()
    assert lines[:3] == ["matplotlib.pyplot show 0 True", "matplotlib.figure Figure.savefig 0 True",
                         "matplotlib.figure Figure.show 0 True"]
    assert lines[3].startswith("(self, fname, ")


def test_seaborn(run):
    captured = run("""
import pandas as pd, seaborn as sns
data = pd.DataFrame({"x": [1, 2, 3, 4], "y": [1, 4, 2, 3], "k": list("abab")})
sns.set_theme()
sns.relplot(data, x="x", y="y", hue="k")
""").ended_well()
    assert captured.types() == [PNG]
    assert captured.results == []
    picture(captured.outputs[0])


def test_seaborn_objects(run):
    captured = run("""
import seaborn.objects as so
so.Plot(x=[1, 2], y=[2, 1]).add(so.Line())
""").ended_well()
    assert captured.types() == [PNG, TEXT]
    assert picture(captured.outputs[0]).width > 100


def test_no_capture_no_change(run):
    """What a fork server patched does what it always did where nothing is captured."""
    captured = run("""
import os
os.closerange(3, 100)
import matplotlib.pyplot as plt
plt.plot([1])
plt.savefig("a.png")
plt.show()
print(os.path.getsize("a.png") > 1000)
""").ended_well()
    assert captured.stdout == "True\n"
    assert captured.outputs == []
