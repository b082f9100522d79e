# SPDX-License-Identifier: Apache-2.0
"""A program in a process of its own from the start: driver.py's other half, which the interpreter caches compiled.

Two frames of the driver's are below the program's: whoever asks for the stack, or counts how deep it is, sees them.
"""

import os
import sys

import agent_program

MEMORY = "/proc/self/mem"


def arguments():
    """The descriptor of rich output, or None, and the program."""
    rich = None
    words = sys.argv[1:]
    if words and words[0].startswith("--rich="):
        rich = int(words.pop(0)[7:])
    if not words:
        sys.exit("usage: driver.py [--rich=FD] SCRIPT")
    return rich, words[0]


def set_up(main, here, path):
    """What a script finds."""
    for name in ("agent_cold", "agent_program"):
        sys.modules.pop(name, None)
    cache = sys.path_importer_cache
    cache.pop(here, None)
    cache[path] = cache.pop(sys.argv[0], None)
    sys.argv = [path]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.orig_argv[0], path]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    if sys.version_info >= (3, 9):
        path = os.path.abspath(path)
    loader = type(main["__loader__"])("__main__", path)
    first = {"__doc__": None, "__loader__": loader, "__file__": path}
    for name in [name for name in main if name not in ("__name__", "__package__", "__spec__", "__builtins__")]:
        if name not in ("__annotations__", "__cached__") and name not in first:
            del main[name]
    main.update(first)
    return path


def argument_area():
    """Where the kernel finds the command line that it shows of this process."""
    with open("/proc/self/stat", "rb", 0) as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])


def show_command(path):
    """The program instead of the driver."""
    try:
        start, end = argument_area()
        fd = os.open(MEMORY, os.O_RDWR | os.O_CLOEXEC)
        try:
            name = os.pread(fd, end - start, start).partition(b"\0")[0]
            text = name + b"\0" + os.fsencode(path) + b"\0"
            if len(text) <= end - start:
                os.pwrite(fd, text.ljust(end - start, b"\0"), start)
        finally:
            os.close(fd)
    except (OSError, IndexError):
        pass


def compile_program(path, has_value):
    try:
        source = agent_program.read(path)
        if has_value:
            return source, agent_program.prepare_quickly(source, path)
        return source, compile(source, path, "exec", 0, True)
    except BaseException:
        # The interpreter itself knows best how to say it.
        name = getattr(sys, "orig_argv", [sys.executable])[0]
        os.execv(sys.executable, [name, path])


def show_both(another, error):
    """What the interpreter does when a hook for errors fails."""
    for text, failure, traceback in (
        ("Error in sys.excepthook:\n", another, another.__traceback__.tb_next),
        ("\nOriginal exception was:\n", error, error.__traceback__),
    ):
        sys.stderr.write(text)
        sys.__excepthook__(type(failure), failure.with_traceback(traceback), traceback)


def hook_errors(code):
    """The interpreter is about to report an error that nobody has caught: without our frames, please."""
    users = sys.excepthook

    def hook(kind, error, traceback):
        sys.excepthook = users
        while traceback and traceback.tb_frame.f_code is not code:
            traceback = traceback.tb_next
        sys.last_traceback = traceback
        try:
            users(kind, error.with_traceback(traceback), traceback)
        except SystemExit:
            raise
        except BaseException as another:
            show_both(another, error)

    sys.excepthook = hook


def run(main):
    rich, script = arguments()
    here = sys.path[0]
    capture = agent_program.load_capture(here) if rich is not None else None
    path = set_up(main, here, script)
    source, code = compile_program(path, capture)
    ending = agent_program.Ending(source, capture.value if capture else id)
    if capture:
        os.set_inheritable(rich, False)
        capture.begin(rich)
    show_command(path)
    stop_watching = (sys.settrace, sys.setprofile) if ending.is_watched else ()
    try:
        exec(code, main)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            hook_errors(code)
        raise
    finally:
        # What follows are our own steps.
        for stop in stop_watching:
            stop(None)
        ending.collect()
        if capture:
            capture.end()
