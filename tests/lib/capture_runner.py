# SPDX-License-Identifier: Apache-2.0
"""Runs programs with the module that captures rich output, as the drivers do: the other half of lib/captured.py.

Arguments: the module's path, and modules to preload, as a fork server would. Each line on stdin names a directory with
script.py, an environ file (NAME=value, NUL separated) and a FIFO, rich; a forked child runs the script. The answers are
"opened", when the FIFO was, and the child's status. Nothing may be imported here that a bare interpreter has not:
programs under test look."""

import _ast
import os
import sys
from builtins import __dict__ as builtin


def load(path):
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader("capture", path)
    module = type(sys)("capture")
    module.__file__ = path
    exec(loader.get_code("capture"), module.__dict__)
    return module


def main():
    sys.dont_write_bytecode = True
    capture = load(sys.argv[1])
    for name in sys.argv[2:]:
        try:
            __import__(name)
        except ImportError:
            pass
    if sys.argv[2:]:
        capture.preloaded()
    while True:
        directory = sys.stdin.readline().rstrip("\n")
        if not directory:
            break
        rich = os.open(directory + "/rich", os.O_WRONLY | os.O_CLOEXEC)
        print("opened", flush=True)
        pid = os.fork()
        if pid == 0:
            become(directory)
            run(capture, rich)
        os.close(rich)
        _, status = os.waitpid(pid, 0)
        print(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), flush=True)


def become(directory):
    """Standard streams, environment and current directory of an execution."""
    os.chdir(directory + "/work")
    for fd, name in ((1, "stdout"), (2, "stderr")):
        file = os.open("../" + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, fd)
        os.close(file)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    with open("../environ", encoding="utf-8") as file:
        for item in filter(None, file.read().split("\0")):
            name, _, value = item.partition("=")
            os.environ[name] = value
    sys.argv = ["script.py"]


def execute(capture, names):
    with open("../script.py", encoding="utf-8") as file:
        tree = compile(file.read(), "script.py", "exec", 0x400)  # ast.PyCF_ONLY_AST
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
    exec(compile(tree, "script.py", "exec"), names)
    if last is not None:
        capture.value(eval(compile(_ast.Expression(last.value), "script.py", "eval"), names))


def run(capture, fd):
    """Ends the process."""
    status = 0
    main = type(sys)("__main__")
    main.__dict__.update(__builtins__=builtin, __file__="script.py")
    sys.modules["__main__"] = main
    modules = set(sys.modules)
    capture.begin(fd, os.environ.get("TEST_WORKSPACE"))
    main.__dict__["new_modules"] = lambda: sorted(set(sys.modules) - modules)
    try:
        execute(capture, main.__dict__)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    capture.end()
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


main()
