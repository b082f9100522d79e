# SPDX-License-Identifier: Apache-2.0
"""Programs that draw and display, run with the module that captures it, without an agent."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from lib.waiting import time_factor

RUNTIME = Path(__file__).resolve().parents[2] / "proc/runtimes/python"
RUNNER = Path(__file__).with_name("capture_runner.py")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SCIENTIFIC = ("numpy", "pandas", "matplotlib", "matplotlib.pyplot", "PIL.Image", "plotly.graph_objects")

# With other interpreters than the tests' own, to see that other versions of the libraries do as well.
PYTHON = os.environ.get("CAPTURE_PYTHON", sys.executable)

PNG = "image/png"
SVG = "image/svg+xml"
HTML = "text/html"
TEXT = "text/plain"
FRAME = "application/vnd.dataframe+json"
PLOTLY = "application/vnd.plotly.v1+json"


class Captured:
    """What a program left: its outputs in order, and what it printed."""

    def __init__(self, directory, lines, status):
        self.directory = directory / "work"
        self.status = status
        self.stdout = (directory / "stdout").read_text(encoding="utf-8")
        self.stderr = (directory / "stderr").read_text(encoding="utf-8")
        self.lines, self.broken = [], []
        for line in filter(None, lines.split(b"\n")):
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.broken.append(line)
        self.outputs = [line for line in self.lines if "type" in line]
        self.results = [line["result"] for line in self.lines if "result" in line]
        self.dropped = sum(line["dropped"] for line in self.lines if "dropped" in line)
        for output in self.outputs:
            assert set(output) == {"type", "format", "data", "metadata", "timestamp"}, output
            assert TIMESTAMP.fullmatch(output["timestamp"]), output["timestamp"]
            assert output["format"] in ("base64", "html", "json", "text")

    def types(self):
        return [output["type"] for output in self.outputs]

    def only(self, mime):
        """The one output of that type."""
        found = [output for output in self.outputs if output["type"] == mime]
        assert len(found) == 1, (self.types(), self.stderr)
        return found[0]

    def ended_well(self):
        assert self.status == 0, self.stderr
        assert self.stderr == ""
        assert not self.broken
        return self


class Runner:
    """An interpreter that runs one program after the other, each in a forked child."""

    def __init__(self, directory, preload=(), flags=()):
        self.directory = directory
        self.n_runs = 0
        self.process = subprocess.Popen(
            [PYTHON, *flags, RUNNER, RUNTIME / "capture.py", *preload], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={name: value for name, value in os.environ.items() if name != "MPLBACKEND"})

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10 * time_factor()) == 0
        self.process.stdout.close()

    def __call__(self, code, env=None, reads="always"):
        """Runs a program. Its outputs are read as they come, or when it has "ended", or "never"."""
        self.n_runs += 1
        directory = self.directory / str(self.n_runs)
        (directory / "work").mkdir(parents=True)
        (directory / "script.py").write_text(code, encoding="utf-8")
        (directory / "environ").write_text("\0".join(f"{k}={v}" for k, v in (env or {}).items()), encoding="utf-8")
        os.mkfifo(directory / "rich")
        rich = os.open(directory / "rich", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        print(directory, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "opened\n", "the runner has ended"
        os.set_blocking(rich, True)
        status = None
        with open(rich, "rb") as rich:
            if reads == "ended":
                status = self.process.stdout.readline()
            lines = b"" if reads == "never" else rich.read()
        return Captured(directory, lines, int(status or self.process.stdout.readline()))


def content(output):
    """The bytes of what came as base64."""
    assert output["format"] == "base64"
    return base64.b64decode(output["data"], validate=True)


def picture(output):
    """A png, decoded, and proven to show something."""
    from PIL import Image

    image = Image.open(io.BytesIO(content(output)))
    assert image.format == "PNG"
    image.load()
    assert any(low < high for low, high in image.convert("RGB").getextrema()), "the picture is blank"
    assert output["metadata"]["size"] == len(content(output))
    return image
