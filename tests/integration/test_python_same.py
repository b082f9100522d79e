# SPDX-License-Identifier: Apache-2.0
"""No program can tell how it was started: by python3 itself, by the driver, or by a fork server. Hundreds of programs
(programs/python/) run in all ways; their output, their end and the files that they leave are the same."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.python_server import RUNTIME, PythonServer, python_with_libraries, run_process

PROGRAMS = Path(__file__).parent / "programs/python"
LIBRARIES = "numpy,pandas,matplotlib,PIL,plotly"
AT_ONCE = 4

# Programs that behave differently by nature: name and reason. At most five. (What no program here does: list the names
# of builtins, where display is one more; look at the hash seed, which the children of a server share; ask the collector
# what it has frozen; and read /proc/self/environ for more than the execution's id.)
DIFFERENT = {
    "matplotlib-modules": "what a library does the first time that it is asked (sysconfig reads its data) was done for"
    " another library, which the program does not import",
}

# By the driver only: programs that ask for the stack below them, or how deep it is, see the driver's two frames.
STACK = frozenset("""code-of-main error-recursion error-recursion-depth faulthandler frames import-stack print-stack
    stack warnings-outermost""".split())


class Program:
    def __init__(self, name, options, source):
        self.name = name
        self.options = options.split()
        match = re.search(r"stdin=(.*)", options)
        self.stdin = match.group(1).encode().decode("unicode_escape").encode("latin-1") if match else b""
        self.source = self.encode(source)

    def encode(self, source):
        """What the files with the programs cannot hold themselves."""
        if "bom" in self.options:
            return b"\xef\xbb\xbf" + source.encode()
        if "crlf" in self.options:
            return source.replace("\n", "\r\n").encode()
        if "many" in self.options:
            return source.encode() * 3000
        if "nul" in self.options:
            return b"x = 1\0\n" + source.encode()
        if "latin" in self.options:
            return source.encode("latin-1")
        if "deep" in self.options:
            return b"x = " + b"(" * 300 + b")" * 300 + b"\n"
        return source.encode()


def read_programs(name):
    text = (PROGRAMS / f"{name}.txt").read_text(encoding="utf-8")
    programs = []
    for block in text.split("=== ")[1:]:
        head, _, source = block.partition("\n")
        name, _, options = head.partition(" ")
        programs.append(Program(name, options, source))
    assert len({program.name for program in programs}) == len(programs)
    return programs


class Runner:
    """Runs a program in one way, each time in a directory of its own."""

    def __init__(self, python, name, directory, server=None):
        self.python = python
        self.name = name
        self.directory = directory
        self.server = server

    def run(self, program):
        place = self.directory / program.name
        work = place / "work"
        work.mkdir(parents=True)
        script = place / "script/main.py"
        script.parent.mkdir()
        script.write_bytes(program.source)
        environment = environment_for(work)
        is_null = "null" in program.options
        if self.server:
            result = self.server.child().run(work, script, environment, program.stdin, is_null)
        else:
            driver = [RUNTIME / "driver.py"] if self.name == "driver" else []
            argv = [self.python, *driver, script]
            result = run_process(argv, work, environment, program.stdin, is_null)
        return self.describe(result, place, work)

    @staticmethod
    def describe(result, place, work):
        files = {}
        for path in sorted(work.rglob("*")):
            if "__pycache__" not in path.parts and path.is_file():
                files[str(path.relative_to(work))] = normal(path.read_bytes(), place)
        return {
            "status": result.status,
            "output": normal(result.out, place),
            "errors": normal(result.err, place),
            "files": files,
        }


def environment_for(work):
    """The agent's (proc/environment.c)."""
    return {
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(work),
        "PYTHONUNBUFFERED": "1",
        "SAMPLE": "a value",
    }


def normal(data, place):
    """Without what must differ: the directory, addresses, numbers of processes and of threads."""
    data = data.replace(os.fsencode(place), b"<PLACE>")
    data = re.sub(rb"0x[0-9a-f]{6,}", b"<ADDRESS>", data)
    data = re.sub(rb"(pid|Thread|ident|process) ?[=(]? ?\d{2,}", rb"\1 <NUMBER>", data)
    return re.sub(rb"/tmp/tmp\w{8}", b"<TEMPORARY>", data)


def compare(programs, runners):
    """The programs that behave differently, with what differs."""
    different = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = [[pool.submit(runner.run, program) for runner in runners] for program in programs]
        for program, futures in zip(programs, results):
            expected, *others = [future.result() for future in futures]
            for runner, actual in zip(runners[1:], others):
                if program.name in DIFFERENT or (runner.name == "driver" and program.name in STACK):
                    continue
                for what in expected:
                    if actual[what] != expected[what]:
                        different.append(
                            f"{program.name}, by {runner.name}: {what}\n  expected {expected[what]!r:.2000}\n"
                            f"  but got  {actual[what]!r:.2000}"
                        )
    return different


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def bare(empty):
    server = PythonServer(sys.executable, environment_for(empty))
    yield server
    assert server.close() == 0


@pytest.fixture(scope="module")
def scientific(empty):
    server = PythonServer(python_with_libraries(), environment_for(empty), LIBRARIES)
    yield server
    assert server.close() == 0


def run_and_compare(name, python, tmp_path, server, ways):
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    runners = [Runner(python, way, tmp_path / way, server if way == "server" else None) for way in ways]
    different = compare(read_programs(name), runners)
    assert not different, f"{len(different)} differences:\n" + "\n".join(different)


@pytest.mark.parametrize("name", ["main", "endings", "system"])
def test_programs_are_the_same(name, tmp_path, bare):
    run_and_compare(name, sys.executable, tmp_path, bare, ("python3", "driver", "server"))


def test_programs_with_libraries_are_the_same(tmp_path, scientific):
    run_and_compare("scientific", python_with_libraries(), tmp_path, scientific, ("python3", "server"))


def test_there_are_many_programs_and_few_exceptions():
    assert sum(len(read_programs(path.stem)) for path in PROGRAMS.glob("*.txt")) >= 200
    assert len(DIFFERENT) <= 5
