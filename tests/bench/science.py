# SPDX-License-Identifier: Apache-2.0
"""A Python with numpy, pandas, matplotlib and a Jupyter kernel, in a virtual environment of its own."""

import json
import subprocess
from pathlib import Path

from servers import BenchError, environment

REQUIREMENTS = Path(__file__).parent / "science-requirements.txt"
INSTALL_LIMIT_S = 600


def install(directory):
    """Returns the directory of its programs and None, or None and the reason why it is not there."""
    stamp = directory / "requirements.txt"
    programs = directory / "bin"
    if stamp.exists() and stamp.read_bytes() == REQUIREMENTS.read_bytes():
        return programs, None
    python = Path("/usr/bin/python3")
    for argv in ([python if python.exists() else "python3", "-m", "venv", directory],
                 [programs / "pip", "install", "-q", "-r", REQUIREMENTS]):
        try:
            done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as e:
            return None, str(e)
        if done.returncode != 0:
            return None, f"{Path(argv[0]).name}: {done.stderr.strip()[-200:]}"
    stamp.write_bytes(REQUIREMENTS.read_bytes())
    return programs, None


class Kernel:
    """A Jupyter kernel that has been started, and its client: jupyter_kernel.py."""

    def __init__(self, programs, count, gap_ms, code):
        self.argv = [str(programs / "python"), str(Path(__file__).parent / "jupyter_kernel.py"),
                     str(count), str(gap_ms), code]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, env=environment(), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def measure(self, mode):
        """The figures of one round."""
        self.process.stdin.write(mode + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise BenchError("the Jupyter kernel ended")
        return json.loads(line)
