# SPDX-License-Identifier: Apache-2.0
"""Rich output of Python without any library: values, display(), bounds, threads, forks, and what all that costs."""

import json

import pytest

from lib.captured import HTML, PNG, TEXT, Runner


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Without site-packages: nothing is installed."""
    runner = Runner(tmp_path_factory.mktemp("bare"), flags=("-S",))
    yield runner
    runner.close()


@pytest.mark.parametrize(("expression", "text"), [
    ("10 + 5", "15"),
    ("'abc'", "'abc'"),
    ("'ä\\n\\u20ac\\U0001f600\\x00'", "'ä\\n€😀\\x00'"),
    ("'\\ud800'", "'\\ud800'"),
    ("[1, {'a': (2,)}, {3}]", "[1, {'a': (2,)}, {3}]"),
    ("float('nan')", "nan"),
    ("b'\\xff'", "b'\\xff'"),
    ("int", "<class 'int'>"),
    ("...", "Ellipsis"),
])
def test_the_last_expression_is_the_result(run, expression, text):
    captured = run(f"print('before')\n{expression}").ended_well()
    assert captured.lines == [{"result": text}]
    assert captured.stdout == "before\n"


@pytest.mark.parametrize("code", ["None", "x = 15", "print('out')", "", "if True:\n    15"])
def test_no_last_value_no_result(run, code):
    assert run(code).ended_well().lines == []


@pytest.mark.parametrize("failure", ["raise ValueError('why')", "raise SystemExit(3)", "return 5", "return chr(55296)",
                                     "return self.__repr__()", "raise MemoryError"])
def test_a_repr_that_fails_is_no_failure(run, failure):
    captured = run(f"class Bad:\n    def __repr__(self):\n        {failure}\nBad()").ended_well()
    assert len(captured.results) == 1
    assert "Bad" in captured.results[0] or "\ufffd" in captured.results[0]


def test_a_container_that_contains_itself(run):
    assert run("l = [1]\nl.append(l)\nl").ended_well().results == ["[1, [...]]"]


@pytest.mark.parametrize(("expression", "start"), [
    ("'x' * 100_000_000", "'xxx"),
    ("list(range(10_000_000))", "[0, 1, 2,"),
    ("tuple([('y' * 5000,)] * 10_000)", "(('yyy"),
    ("dict.fromkeys(range(1_000_000), 'z')", "{0: 'z', 1: 'z'"),
    ("[[[0] * 1000] * 1000] * 1000", "[[[0, 0,"),
    ("type('Long', (), {'__repr__': lambda self: 'ä' * 3_000_000})()", "äää"),
])
def test_a_result_is_bounded(run, expression, start):
    result, = run(expression).ended_well().results
    assert result.startswith(start)
    assert 100_000 < len(result.encode()) <= 1 << 20
    assert " more" in result[-200:]


def test_nothing_is_imported_for_what_is_not_drawn(run):
    captured = run("display('x')\nprint(new_modules(), 'json' in __import__('sys').modules)\n15").ended_well()
    assert captured.stdout == "[] False\n"
    assert captured.results == ["15"]


def test_the_finder_steps_aside(run):
    captured = run("""
import importlib.util, json, sys
print(json.loads("[1]"), json.__loader__ is json.__spec__.loader)
for name in "matplotlib", "matplotlib.pyplot", "PIL.Image", "nothing_at_all":
    try:
        __import__(name)
    except ImportError as error:
        print(type(error).__name__, error)
print(importlib.util.find_spec("matplotlib"), importlib.util.find_spec("pandas"))
""").ended_well()
    assert captured.stdout == """[1] True
ModuleNotFoundError No module named 'matplotlib'
ModuleNotFoundError No module named 'matplotlib'
ModuleNotFoundError No module named 'PIL'
ModuleNotFoundError No module named 'nothing_at_all'
None None
"""


def test_a_patched_module_is_what_it_would_be(run):
    captured = run("""
import importlib, inspect, os, sys
os.mkdir("PIL")
open("PIL/__init__.py", "w").close()
with open("PIL/Image.py", "w") as file:
    file.write('''class Image:
    def show(self, title=None):
        "Shows."
        print("shown")
''')
sys.path.insert(0, os.getcwd())
import PIL.Image
print(PIL.Image.__loader__ is PIL.Image.__spec__.loader, vars(PIL.Image.__loader__).keys() & {"exec_module"})
first = PIL.Image.Image.show
print(inspect.getsource(PIL.Image).count("class"), inspect.signature(first), first.__doc__)
importlib.reload(PIL.Image)
print(PIL.Image.Image.show is not first, PIL.Image.Image.show.__qualname__)
PIL.Image.Image().show()
with open("PIL/Image.py", "w") as file:
    file.write("import nothing_at_all")
os.utime("PIL/Image.py", (1, 1))
del sys.modules["PIL.Image"]
import PIL.Image
""")
    assert captured.stdout == "True set()\n1 (self, title=None) Shows.\nTrue Image.show\n"
    assert "ModuleNotFoundError: No module named 'nothing_at_all'" in captured.stderr
    assert "hooks.py" not in captured.stderr and "importlib" not in captured.stderr


OBJECT = """
import base64
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
                         "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
class Rich:
    def _repr_html_(self): return "<b>ä</b>"
    def _repr_markdown_(self): return "**ä**"
    def _repr_latex_(self): return "$x$"
    def _repr_svg_(self): return "<svg xmlns='http://www.w3.org/2000/svg'/>"
    def _repr_png_(self): return PIXEL, {"width": 1}
    def _repr_jpeg_(self): return None
    def _repr_json_(self): return {"a": [1, None, float("inf")]}
    def _repr_pdf_(self): return b"%PDF-"
    def __repr__(self): return "rich"
"""


@pytest.mark.parametrize("last", ["Rich()", "display(Rich())"])
def test_all_forms_of_an_object(run, last):
    captured = run(OBJECT + last).ended_well()
    forms = [(output["type"], output["format"]) for output in captured.outputs]
    assert forms == [("text/html", "html"), ("image/svg+xml", "text"), (PNG, "base64"), ("application/pdf", "base64"),
                     ("application/json", "json"), ("text/markdown", "text"), ("text/latex", "text"), (TEXT, "text")]
    assert {output["metadata"]["group"] for output in captured.outputs} == {"1"}
    assert {output["metadata"]["source"] for output in captured.outputs} == {"other"}
    assert captured.only(HTML)["data"] == "<b>ä</b>"
    assert captured.only(PNG)["metadata"] == {"width": 1, "source": "other", "group": "1", "size": 70}
    assert captured.only("application/json")["data"] == {"a": [1, None, None]}
    assert captured.only(TEXT)["data"] == "rich"
    assert captured.results == (["rich"] if last == "Rich()" else [])


def test_a_bundle_of_forms(run):
    captured = run("""
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": "<i>bundle</i>", "application/vnd.x+json": {"k": (1, 2)}, "image/png": "AAEC\\nAw=="}, {
            "text/html": {"isolated": True}}
    def _repr_html_(self): return "not this"
    def _repr_markdown_(self): return "*this*"
display(Bundle())
""").ended_well()
    assert captured.types() == ["text/html", PNG, "text/markdown", "application/vnd.x+json", TEXT]
    assert captured.only(HTML)["data"] == "<i>bundle</i>" and captured.only(HTML)["metadata"]["isolated"] is True
    assert captured.only(PNG)["data"] == "AAECAw==" and captured.only(PNG)["metadata"]["size"] == 4
    assert captured.only("application/vnd.x+json")["data"] == {"k": [1, 2]}


def test_forms_that_fail_are_told(run):
    captured = run("""
class Half:
    def _repr_html_(self): return "<b>half</b>"
    def _repr_png_(self): raise ValueError("no paint")
    def _repr_svg_(self): raise SystemExit(7)
    def _repr_latex_(self): raise NotImplementedError
Half()
""").ended_well()
    assert captured.types() == [HTML, TEXT]
    assert captured.only(HTML)["metadata"]["errors"] == {
        "image/png": "ValueError: no paint", "image/svg+xml": "SystemExit: 7"}


def test_objects_that_have_every_attribute_have_no_forms(run):
    captured = run("from unittest.mock import MagicMock\ndisplay(MagicMock(name='m'), Exception)\nMagicMock(name='m')")
    assert captured.ended_well().types() == [TEXT, TEXT]
    assert len(captured.results) == 1


def test_display(run):
    captured = run("""
class Own:
    def _ipython_display_(self): display("of its own", metadata={"text/plain": {"k": 1}})
print(display("a", 2))
display({"text/html": "<p>", "text/plain": "p"}, raw=True)
display(Own())
class Html:
    def _repr_html_(self): return "<b>"
display(Html(), exclude=["text/plain"])
display(Html(), include=["text/plain"])
handle = display("first", display_id=True)
handle.update("second")
Own()
""").ended_well()
    assert captured.stdout == "None\n"
    assert captured.types() == [TEXT, TEXT, HTML, TEXT, TEXT, HTML, TEXT, TEXT, TEXT, TEXT]
    assert [o["data"] for o in captured.outputs][:5] == ["'a'", "2", "<p>", "p", "'of its own'"]
    assert captured.outputs[4]["metadata"]["k"] == 1
    first, second = captured.outputs[7:9]
    assert first["data"] == "'first'" and second["data"] == "'second'"
    assert first["metadata"]["display_id"] == second["metadata"]["display_id"]
    assert captured.results == []


def test_ipython_where_it_is_not_installed(run):
    captured = run("""
from IPython.display import (display as show, HTML, Markdown, Image, JSON, SVG, Latex, Math, Javascript, Code, Pretty,
                             IFrame, Audio, Video, clear_output)
from IPython.core.display import display as same
import IPython, IPython.display as d
assert same is show is display is IPython.display.display and IPython.get_ipython() is None
show(HTML("<b>x</b>"), Markdown("# m"), Latex("$x$"), Math("x^2"), SVG("<svg/>"), JSON({"a": 1}),
     Code("x = 1", language="python"))
show(IFrame("http://127.0.0.1/", 10, 20), Image(url="http://127.0.0.1/x.png"), Javascript("1"), Pretty("p"))
with open("x.png", "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n123")
show(Image("x.png", width=5), Audio(b"RIFF"), Video(b"mp4"))
clear_output(wait=True)
HTML("last")
""").ended_well()
    rich = [output for output in captured.outputs if output["type"] != TEXT]
    assert [output["type"] for output in rich] == [
        HTML, "text/markdown", "text/latex", "text/latex", "image/svg+xml", "application/json", "text/markdown",
        HTML, HTML, "application/javascript", PNG, HTML, HTML, HTML]
    assert rich[0]["data"] == "<b>x</b>" and rich[5]["data"] == {"a": 1}
    assert rich[6]["data"] == "```python\nx = 1\n```"
    assert rich[10]["metadata"]["width"] == 5
    assert "data:audio/wav;base64,UklGRg==" in rich[11]["data"]
    assert captured.stdout == ""
    assert captured.results == ["<IPython.core.display.HTML object>"]


def test_libraries_do_not_see_what_is_not_installed(run):
    captured = run("""
import os, sys
os.makedirs("site-packages/library")
with open("site-packages/library/__init__.py", "w") as file:
    file.write("try:\\n    import IPython\\n    has = True\\nexcept ImportError:\\n    has = False\\n")
sys.path.insert(0, os.getcwd() + "/site-packages")
import library
print(library.has)
""").ended_well()
    assert captured.stdout == "False\n"


def test_values_that_json_lacks(run):
    captured = run("""
import datetime, decimal, enum, fractions
class Level(enum.IntEnum):
    LOW = 1
class Odd:
    def __str__(self): raise ValueError
deep = []
for _ in range(500):
    deep = [deep]
class Json:
    def _repr_json_(self):
        return {
            "nan": float("nan"), "inf": [float("inf"), -float("inf")], "date": datetime.datetime(2020, 1, 2, 3),
            "decimal": decimal.Decimal("1.50"), "bytes": b"a\\xff", "set": {1}, "enum": Level.LOW, "big": 1 << 64,
            "min": -(1 << 63), "none": None, 1: "one", "1": "again", (2, "x"): "tuple", None: True, "odd": Odd(),
            "deep": deep, "surrogate": "\\ud800", "control": "\\x00\\x1f\\"\\\\\\u2028",
            "fraction": fractions.Fraction(1, 3), "huge": 1 << 100000, "bool": True, "complex": 1j}
display(Json())
""").ended_well()
    data = captured.only("application/json")["data"]
    assert data.pop("deep")[0]
    assert data.pop("odd") == "<Odd: ValueError>"
    assert data.pop("huge").startswith("0x1000")
    assert data == {
        "nan": None, "inf": [None, None], "date": "2020-01-02T03:00:00", "decimal": "1.50", "bytes": "a\\xff",
        "set": [1], "enum": 1, "big": str(1 << 64), "min": -(1 << 63), "none": None, "1": "again", "2, x": "tuple",
        "null": True, "surrogate": "\ufffd\ufffd\ufffd", "control": '\x00\x1f"\\\u2028', "fraction": "1/3",
        "bool": True, "complex": "1j"}


def test_not_more_than_a_hundred_outputs(run):
    captured = run("for i in range(130):\n    display(i)\n'end'").ended_well()
    assert [output["data"] for output in captured.outputs] == [str(i) for i in range(100)]
    assert captured.results == ["'end'"]
    assert captured.lines[-1] == {"dropped": 30}


def test_bytes_are_bounded(run):
    captured = run("""
def show(n): display({"text/plain": "x" * n}, raw=True)
show(9 << 20)
for _ in range(5):
    show(5 << 20)
show(10)
""").ended_well()
    assert [len(output["data"]) for output in captured.outputs] == [5 << 20] * 3 + [10]
    assert captured.dropped == 3


def test_threads(run):
    captured = run("""
import threading
def show(n):
    for i in range(4):
        display({"text/plain": str(n) * 300_000}, raw=True)
threads = [threading.Thread(target=show, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""").ended_well()
    data = [output["data"] for output in captured.outputs]
    assert sorted(text[0] for text in data) == sorted("01234567" * 4)
    assert all(text == text[0] * 300_000 for text in data)


def test_forked_children_display_whole_lines(run):
    captured = run("""
import os
children = []
for n in range(6):
    pid = os.fork()
    if pid == 0:
        for _ in range(3):
            display({"text/plain": str(n) * 300_000}, raw=True)
        os._exit(0)
    children.append(pid)
for _ in range(3):
    display({"text/plain": "p" * 300_000}, raw=True)
for pid in children:
    os.waitpid(pid, 0)
display("after")
""").ended_well()
    data = [output["data"] for output in captured.outputs]
    assert data[-1] == "'after'"
    assert sorted(text[0] for text in data[:-1]) == sorted("012345p" * 3)
    assert all(text == text[0] * 300_000 for text in data[:-1])
    groups = [output["metadata"]["group"] for output in captured.outputs]
    assert len(set(groups)) == len(groups)


def test_a_fork_while_a_thread_writes(run):
    captured = run("""
import os, threading, warnings
warnings.simplefilter("ignore")  # some versions have something to say about forks and threads
thread = threading.Thread(target=lambda: [display({"text/plain": "t" * 1_000_000}, raw=True) for _ in range(10)])
thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        display("child")
        os._exit(0)
    os.waitpid(pid, 0)
thread.join()
""").ended_well()
    assert sorted(output["data"][:7] for output in captured.outputs) == ["'child'"] * 20 + ["ttttttt"] * 10


def test_a_signal_handler_that_displays_amid_a_line(run):
    captured = run("""
import signal
left = 50
def alarm(*_):
    global left
    left -= 1
    if left:
        display("alarm")
    else:
        signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, alarm)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
for n in range(10):
    display({"text/plain": str(n) * 1_000_000}, raw=True)
""").ended_well()
    shown = [output["data"][0] for output in captured.outputs if output["data"] != "'alarm'"]
    assert shown == [str(n) for n in range(10)]


def test_an_exception_amid_a_line_spoils_that_line_only(run):
    captured = run("""
import signal
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, stop)
for i in range(30):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.0001 * i)
        display({"text/plain": "x" * 500_000}, raw=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        print("interrupted")
display("after")
""")
    assert captured.status == 0, captured.stderr
    assert captured.stdout
    assert len(captured.broken) <= captured.stdout.count("\n")
    assert all(output["data"] == "x" * 500_000 for output in captured.outputs[:-1])
    assert captured.outputs[-1]["data"] == "'after'"


@pytest.mark.parametrize("code", [
    "os.closerange(3, 100)",
    "os.closerange(3, 100)\nfiles = [open(f'f{i}', 'w') for i in range(10)]",
    "import gc\nos.closerange(3, 100)\npipes = [os.pipe() for i in range(10)]",
])
def test_a_descriptor_that_is_another_file_now_is_not_written_to(run, code):
    captured = run(f"""
import os, pathlib
display("before")
{code}
display("after")
print([path.stat().st_size for path in pathlib.Path().glob("f*") if path.stat().st_size])
15
""").ended_well()
    assert [output["data"] for output in captured.outputs] == ["'before'"]
    assert captured.stdout == "[]\n"


@pytest.mark.parametrize("reads", ["ended", "never"])
def test_nobody_reads(run, reads):
    captured = run("""
import os
fds = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)]
fd = [fd for fd in fds if os.readlink(f"/proc/self/fd/{fd}").endswith("/rich")][0]
assert not os.get_inheritable(fd) and fd > 2
os.set_blocking(fd, False)
display({"text/plain": "x" * 5_000_000}, raw=True)
print("on")
15
""", reads=reads)
    assert (captured.status, captured.stdout, captured.stderr) == (0, "on\n", "")
    assert captured.lines == []


def test_what_comes_before_a_failure_is_kept(run):
    captured = run("display('seen')\nprint('out')\n1 / 0\n'never'")
    assert captured.status == 1
    assert captured.types() == [TEXT]
    assert captured.results == []
    assert "ZeroDivisionError" in captured.stderr
    assert run("display(1)\nraise SystemExit(4)").status == 4


def test_nothing_of_it_is_printed(run):
    captured = run("display('x')\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n15")
    assert (captured.stdout, captured.stderr) == ("out\n", "err\n")
    assert json.dumps(captured.lines[-1]) == '{"result": "15"}'
