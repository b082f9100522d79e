# SPDX-License-Identifier: Apache-2.0
"""The fork server of Python and its children, as proc/driver_protocol.h has them; no agent takes part."""

import json
import os
import struct
import subprocess
import sys

import pytest

from lib.python_server import RUNTIME, PythonServer, python_with_libraries
from lib.waiting import wait_until

SPAWN_CWD = 1
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def server():
    server = PythonServer(sys.executable, ENVIRONMENT)
    yield server
    assert server.close() == 0


@pytest.fixture
def run(server, tmp_path):
    """Runs a program in a child of the server, or of the one that is given."""

    def run(source, stdin=b"", server=server, script="main.py", **environment):
        path = tmp_path / script
        path.write_text(source)
        return server.child().run(tmp_path, path, {**ENVIRONMENT, **environment}, stdin)

    return run


def make_module(directory, name, source):
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.py").write_text(source)
    return {**ENVIRONMENT, "PYTHONPATH": str(directory)}


def outputs(result):
    return [json.loads(line) for line in result.rich.splitlines()]


def test_children_are_the_agents(server, run):
    result = run("import os; print(os.getppid(), os.getsid(0) == os.getpid())")
    assert result.out == f"{os.getpid()} True\n".encode()


def test_many_children_wait_at_the_same_time(server, tmp_path):
    children = [server.child() for _ in range(20)]
    for number, child in enumerate(children):
        script = tmp_path / f"{number}.py"
        script.write_text(f"print({number})")
        assert child.run(tmp_path, script, ENVIRONMENT).out == f"{number}\n".encode()


def test_a_directory_that_cannot_be_entered_is_reported(server, tmp_path):
    child = server.child()
    result = child.run(tmp_path / "missing", tmp_path / "main.py", ENVIRONMENT)
    assert result.status == 126
    assert struct.unpack("=ii", child.failure) == (SPAWN_CWD, 2)


def test_a_job_that_is_accepted_closes_its_socket(server, tmp_path):
    child = server.child()
    (tmp_path / "main.py").write_text("import time; input()")
    child.send_job(tmp_path, tmp_path / "main.py", ENVIRONMENT)
    assert child.job.recv(8) == b""
    os.write(child.stdin, b"\n")
    assert child.finish().status == 0


def test_a_child_that_gets_no_job_ends(server):
    child = server.child()
    child.job.close()
    child.finish_quietly()


def test_half_a_job_is_none(server):
    child = server.child()
    child.job.sendall((100).to_bytes(4, "little") + b"/tmp\0")
    child.job.close()
    child.finish_quietly()


def test_waiting_children_can_be_told_apart(server):
    child = server.child()

    def environment():
        with open(f"/proc/{child.pid}/environ", "rb") as file:
            return file.read().split(b"\0")

    wait_until(lambda: f"VM_AGENT_EXECUTION_ID={child.identity}".encode() in environment(), "the child has its id")
    child.job.close()
    child.finish_quietly()


def test_the_id_of_the_execution_is_shown_of_all_that_is_forked(server, tmp_path):
    child = server.child()
    child.identity = "exec_".ljust(len(child.identity), "e")  # another one than while it waited
    main = tmp_path / "main.py"
    main.write_text(
        "import os\n"
        "pid = os.fork()\n"
        "pid and os.waitpid(pid, 0)\n"
        "shown = open('/proc/self/environ').read().split('\\0')\n"
        "print(f\"VM_AGENT_EXECUTION_ID={os.environ['VM_AGENT_EXECUTION_ID']}\" in shown, flush=True)\n"
    )
    assert child.run(tmp_path, main, ENVIRONMENT).out == b"True\nTrue\n"


def test_a_server_ends_with_its_control_socket_and_children_go_on(tmp_path):
    server = PythonServer(sys.executable, ENVIRONMENT)
    child = server.child()
    assert server.close() == 0
    (tmp_path / "main.py").write_text("print('still here')")
    assert child.run(tmp_path, tmp_path / "main.py", ENVIRONMENT).out == b"still here\n"


def test_too_few_descriptors_are_refused(server):
    server.control.sendmsg([b"exec_" + b"0" * 24])
    assert server.control.recv(100) == b"failed\0" + b"22\0"


def test_the_last_value_is_an_output(run):
    result = run("x = 20\nx + 1")
    assert outputs(result) == [{"result": "21"}]
    assert (result.status, result.out) == (0, b"")


def test_figures_and_displays_are_outputs_whatever_the_end(run):
    result = run("display({'a': 1})\nimport sys\nsys.exit(3)")
    assert result.status == 3
    assert [output["type"] for output in outputs(result)] == ["text/plain"]


@pytest.mark.parametrize("preload, ends", [("", {"1 / 0": 1}), ("matplotlib", {"pass": 0, "1 / 0": 1, "exit(4)": 4})])
def test_open_figures_are_outputs_whatever_the_end(run, preload, ends):
    server = PythonServer(python_with_libraries(), ENVIRONMENT, preload)
    for end, status in ends.items():
        result = run(f"import matplotlib.pyplot as plt\nplt.plot([1, 2])\n{end}", server=server)
        assert result.status == status
        assert [output["type"] for output in outputs(result)] == ["image/png"]
    assert server.close() == 0


def test_the_driver_shows_the_last_value_too(tmp_path):
    script = tmp_path / "main.py"
    script.write_text("import os\n'a' + 'b'")
    read, write = os.pipe()
    argv = [sys.executable, RUNTIME / "driver.py", f"--rich={write}", script]
    result = subprocess.run(argv, pass_fds=[write], capture_output=True)
    os.close(write)
    with open(read, "rb") as file:
        assert [json.loads(line) for line in file] == [{"result": "'ab'"}]
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "source, expected",
    [("5", "5"), ("'text'\n'value'", "'value'"), ("True", "True"), ("(1,\n 2)", "(1, 2)"), ("f'{1}'", "'1'")],
)
def test_the_driver_shows_constants(tmp_path, source, expected):
    script = tmp_path / "main.py"
    script.write_text(source)
    result = subprocess.run([sys.executable, RUNTIME / "driver.py", "--rich=1", script], capture_output=True)
    assert json.loads(result.stdout)["result"] == expected


def test_modules_are_loaded_ahead(tmp_path, run):
    environment = make_module(tmp_path / "lib", "ahead", "import os; pid = os.getpid()\nimport json, colorsys")
    server = PythonServer(sys.executable, environment, "ahead,not_there")
    source = "import sys\nprint('ahead' in sys.modules, 'colorsys' in sys.modules)\nimport ahead, os\n"
    source += "print(ahead.pid != os.getpid(), 'colorsys' in sys.modules)"
    result = run(source, server=server, PYTHONPATH=environment["PYTHONPATH"])
    assert (result.out, result.err) == (b"False False\nTrue True\n", b"")
    assert str(tmp_path / "lib") in server.directories
    assert server.close() == 0


def test_what_is_printed_while_loading_ahead_is_dropped(tmp_path, run, capfd):
    source = "import os, warnings\nprint('noise')\nos.system('echo noise')\nwarnings.warn('noise')\nos.environ['X'] = '1'"
    environment = make_module(tmp_path / "lib", "noisy", source)
    server = PythonServer(sys.executable, environment, "noisy")
    assert run("print(1)", server=server, PYTHONPATH=environment["PYTHONPATH"]).out == b"1\n"
    assert server.close() == 0
    assert capfd.readouterr().out == ""


def test_modules_that_start_threads_are_not_loaded_ahead(tmp_path, run):
    source = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    environment = make_module(tmp_path / "lib", "threaded", source)
    make_module(tmp_path / "lib", "ahead", "import os; pid = os.getpid()")
    server = PythonServer(sys.executable, environment, "threaded,ahead")
    result = run("import ahead, os; print(ahead.pid != os.getpid())", server=server, PYTHONPATH=str(tmp_path / "lib"))
    assert result.out == b"True\n"
    server.control.close()
    assert b"threaded starts threads" in server.process.stderr.read()
    assert server.process.wait() == 0
    server.process.stderr.close()


def test_a_module_of_the_programs_own_comes_first(tmp_path, run):
    environment = make_module(tmp_path / "lib", "ahead", "import needed; which = 'ahead'; other = needed.which")
    make_module(tmp_path / "lib", "needed", "which = 'ahead'")
    server = PythonServer(sys.executable, environment, "ahead")
    (tmp_path / "needed.py").write_text("which = 'own'")
    path = environment["PYTHONPATH"]
    assert run("import ahead; print(ahead.other)", server=server, PYTHONPATH=path).out == b"own\n"
    assert server.close() == 0


def test_an_environment_that_counts_at_the_start_is_respected(run):
    assert run("import sys; print(sys.flags.optimize)", PYTHONOPTIMIZE="2").out == b"2\n"


def test_new_modules_are_found_at_once(server, run, tmp_path):
    for number in range(3):
        (tmp_path / f"new{number}.py").write_text(f"x = {number}")
        result = run(f"import new{number}; print(new{number}.x)", PYTHONPATH=str(tmp_path), script=f"main{number}.py")
        assert result.out == f"{number}\n".encode()


def test_each_child_has_randomness_of_its_own(tmp_path, run):
    environment = make_module(tmp_path / "lib", "ahead", "import random, uuid, tempfile, secrets")
    server = PythonServer(sys.executable, environment, "ahead")
    source = "import random, uuid, tempfile\nprint(random.random(), uuid.uuid1(), tempfile.mktemp())"
    seen = [run(source, server=server, PYTHONPATH=environment["PYTHONPATH"]).out.split() for _ in range(4)]
    assert all(len(set(column)) == 4 for column in zip(*seen)), seen
    assert server.close() == 0


def test_directories_of_what_is_searched_are_named(server):
    assert os.path.dirname(os.__file__) in server.directories
    assert all(os.path.isabs(path) for path in server.directories)  # some may be missing, and are watched for
    assert not any(path.startswith(str(RUNTIME)) for path in server.directories)
    assert len(set(server.directories)) == len(server.directories)


def test_where_it_cannot_work_it_says_so(tmp_path):
    environment = make_module(tmp_path / "lib", "ctypes", "raise ImportError('no ctypes here')")
    argv = [sys.executable, RUNTIME / "server.py"]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=environment)
    assert result.returncode == 3
    assert b"no ctypes here" in result.stderr


def test_who_inherits_the_servers_environment_does_not_serve(tmp_path):
    """A .pth file and a sitecustomize module may start interpreters, before the server has cleaned up."""
    log = tmp_path / "log"
    start = (
        "import os, subprocess, sys\n"
        "if not os.environ.get('NESTED'):\n"
        "    environment = {**os.environ, 'NESTED': '1'}\n"
        "    code = 'import os, sys; print(sorted(n for n in os.environ if n.startswith(\"VM_AGENT_\")), flush=True)'\n"
        f"    with open({str(log)!r}, 'a') as log:\n"
        "        subprocess.run([sys.executable, '-c', code], env=environment, stdout=log, stderr=log, timeout=20)\n"
    )
    environment = make_module(tmp_path / "modules", "sitecustomize", start)
    server = PythonServer(sys.executable, environment)
    child = server.child()
    assert server.close() == 0
    (tmp_path / "main.py").write_text("print('served')")
    assert child.run(tmp_path, tmp_path / "main.py", environment).out == b"served\n"
    assert set(log.read_text().splitlines()) == {"['VM_AGENT_EXECUTION_ID']"}


def test_a_process_with_the_servers_environment_is_no_server(tmp_path):
    serving = RUNTIME / "serving"
    modules = {"PYTHONPATH": f"{serving}:{tmp_path}", "VM_AGENT_PYTHONPATH": str(tmp_path), "VM_AGENT_PRELOAD": ""}
    for pid in ({}, {"VM_AGENT_SERVER_PID": "1"}):
        code = "import os, sys; print(os.environ['PYTHONPATH'], [n for n in os.environ if n.startswith('VM_')])"
        argv = [sys.executable, "-c", code]
        result = subprocess.run(
            argv, env={**ENVIRONMENT, **modules, **pid}, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert (result.stdout, result.stderr) == (f"{tmp_path} []\n", "")
