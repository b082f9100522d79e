# SPDX-License-Identifier: Apache-2.0
"""A child of the fork server: waits for its job, and becomes the interpreter that was started for it."""

import builtins
import gc
import importlib.util
import io
import marshal
import os
import posix
import site
import sys
import time

import _frozen_importlib_external

import agent_program

RICH_FD = 4
JOB_FD = 5
PROGRAM_FD = 3
PROGRAM = "/proc/self/fd/3"  # as in server.py
FIRST_FREE_FD = 6

SPAWN_CWD = 1  # enum spawn_stage of proc/spawn.h
EXIT_NO_DIRECTORY = 126

def print_nothing(*_):
    pass


REHEARSAL = b"""
import sys

def function(argument=1):
    return [argument for _ in range(3)]

class Class:
    def __init__(self):
        self.value = function()

try:
    print(Class().value, file=open("/dev/null", "w"))
    raise ValueError(f"{sys.argv!r}")
except ValueError:
    function()
"""


class Streams:
    """What the interpreter made of 0, 1 and 2 when it started, to be made again of others."""

    def __init__(self):
        self.is_unbuffered = getattr(sys.__stdout__, "write_through", False)
        self.streams = [
            (name, getattr(stream, "encoding", "utf-8"), getattr(stream, "errors", "strict"))
            for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout), ("stderr", sys.stderr))
        ]

    def renew(self):
        unbuffered = self.is_unbuffered
        for fd, (name, encoding, errors) in enumerate(self.streams):
            stream = self.make(fd, f"<{name}>", encoding, errors, unbuffered)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    @staticmethod
    def make(fd, name, encoding, errors, unbuffered):
        """create_stdio() of the interpreter's pylifecycle.c."""
        is_output = fd > 0
        buffering = 0 if unbuffered and is_output else -1
        buffer = io.open(fd, "wb" if is_output else "rb", buffering, None, None, None, False)
        raw = buffer.raw if buffering else buffer
        raw.name = name
        is_line_buffered = not unbuffered and (raw.isatty() or (fd == 2 and sys.version_info >= (3, 9)))
        stream = io.TextIOWrapper(buffer, encoding, errors, "\n", is_line_buffered, bool(unbuffered))
        stream.mode = "w" if is_output else "r"
        return stream


def read_job():
    """directory, script, stdin and environment, all bytes."""
    data = b""
    size = 4
    while len(data) < size:
        more = os.read(JOB_FD, max(size - len(data), 65536))
        if not more:
            os._exit(0)
        data += more
        if size == 4 and len(data) >= 4:
            size += int.from_bytes(data[:4], sys.byteorder)
    directory, script, stdin, *environment = data[4:size].split(b"\0")[:-1]
    return directory, script, stdin, environment


def enter(directory):
    try:
        os.chdir(directory)
    except OSError as error:
        failure = b"".join(n.to_bytes(4, sys.byteorder, signed=True) for n in (SPAWN_CWD, error.errno))
        os.write(JOB_FD, failure)
        os._exit(EXIT_NO_DIRECTORY)
    os.close(JOB_FD)


def set_environment(entries, clear):
    clear()
    values = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if equals and name and name not in values:
            values[name] = value
            os.putenv(name, value)
    for mapping in (os.environ._data, posix.environ):
        mapping.clear()
        mapping.update(values)
    time.tzset()


def renew_main():
    """A module of which the garbage collector knows: it must not look at what was there before the fork."""
    old = sys.modules["__main__"].__dict__
    new = type(sys)("__main__")
    new.__dict__.update(old)
    if "__annotations__" in old:
        new.__dict__["__annotations__"] = {}
    sys.modules["__main__"] = new


class Child:
    """Made by the server, before there are any: all that they need is loaded then."""

    def __init__(self, server):
        self.server = server
        self.streams = Streams()
        agent_program.parser()
        self.own_path = server.own_path
        self.user_customization = site.execusercustomize
        self.has_user_customization = importlib.util.find_spec("usercustomize") is not None

    def wait(self):
        try:
            self.rehearse()
        except Exception:  # what cannot be done will be found out when it counts
            pass
        return read_job()

    def rehearse(self):
        """Memory that is written to for the first time after a fork has to be copied: better now than later."""
        self.streams.renew()
        set_environment([b"%s=%s" % item for item in posix.environ.items()], self.server.clear_environment)
        self.set_path()
        code = agent_program.prepare(REHEARSAL, "<rehearsal>")
        agent_program.Ending(REHEARSAL, print_nothing)
        self.write_program(code)
        with open(PROGRAM, "rb") as file:
            file.seek(16)
            exec(marshal.load(file), {"__name__": "<rehearsal>", "__builtins__": builtins})
        os.path.dirname(os.path.realpath(PROGRAM))
        os.close(PROGRAM_FD)
        self.server.unseen.is_unseen()
        self.server.stash.rehearse()

    def become(self, job):
        directory, script, stdin, environment = job
        enter(directory)
        set_environment(environment, self.server.clear_environment)
        self.server.show_id(posix.environ.get(b"VM_AGENT_EXECUTION_ID", b""))
        if stdin == b"null":
            fd = os.open(os.devnull, os.O_RDONLY)
            os.dup2(fd, 0)
            if fd:
                os.close(fd)
        path = os.fsdecode(script)
        self.server.set_command_line(script)
        self.streams.renew()
        sys.argv = [path]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv = [sys.orig_argv[0], path]
        self.set_path()
        self.load(script, path)

    def set_path(self):
        value = os.environ.get("PYTHONPATH")
        entries = [os.path.abspath(entry) for entry in value.split(":")] if value else []
        sys.path[:] = dict.fromkeys(entries + self.own_path)
        sys.path_importer_cache[PROGRAM] = None
        site.execusercustomize = self.run_user_customization

    def run_user_customization(self):
        """Looking for a module in all directories takes longer than all else here."""
        site.execusercustomize = self.user_customization
        places = os.environ.get("PYTHONPATH", "").split(":")
        names = ("usercustomize", "usercustomize.py", "usercustomize.pyc")
        if self.has_user_customization or any(os.path.exists(f"{place}/{n}") for place in places for n in names):
            site.execusercustomize()

    def load(self, script, path):
        """Leaves the program where the interpreter will look for it."""
        capture = self.server.capture
        if not self.server.is_fit(path):
            os.set_inheritable(RICH_FD, True)
            driver = os.path.join(self.server.private, "driver.py")
            self.start_cold(os.fsencode(driver), b"--rich=%d" % RICH_FD, script)
        try:
            source = agent_program.read(path)
            # A program that watches itself would see the call that tells of its end.
            is_watched = agent_program.is_watched(source)
            code = (agent_program.prepare_quickly if is_watched else agent_program.prepare)(source, path)
        except BaseException:
            # The interpreter itself knows best how to say it.
            self.start_cold(script)
        self.write_program(code)
        self.hook_loader(path)
        if capture:
            capture.begin(RICH_FD)
        self.server.expect_end(source)
        # What follows is the program's.
        gc.freeze()
        renew_main()

    def write_program(self, code):
        fd = os.memfd_create("program", os.MFD_CLOEXEC)
        os.write(fd, self.server.magic + bytes(12) + marshal.dumps(code))
        if fd != PROGRAM_FD:
            os.dup2(fd, PROGRAM_FD, False)
            os.close(fd)

    def hook_loader(self, path):
        """The interpreter asks for the loader of __main__ right before it runs it: the last moment to put right
        what it made of our name for the program."""
        real = _frozen_importlib_external.SourcelessFileLoader

        def loader(name, ours):
            _frozen_importlib_external.SourcelessFileLoader = real
            site.execusercustomize = self.user_customization
            os.close(PROGRAM_FD)
            main = sys.modules["__main__"].__dict__
            main["__file__"] = path
            if not getattr(sys.flags, "safe_path", False):
                sys.path[0] = os.path.dirname(os.path.realpath(path))
            sys.path_importer_cache[path] = sys.path_importer_cache.pop(ours, None)
            return _frozen_importlib_external.SourceFileLoader(name, path)

        _frozen_importlib_external.SourcelessFileLoader = loader

    def start_cold(self, *arguments):
        """What this process cannot be, another interpreter can. The program has not begun."""
        os.execve(sys.executable, [self.server.program_name, *arguments], dict(os.environb))
