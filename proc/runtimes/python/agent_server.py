# SPDX-License-Identifier: Apache-2.0
"""The fork server of proc/driver_protocol.h, within the start of the interpreter (see server.py)."""

import sys

import agent_stash

# Before anything else is imported.
VISIBLE = {name for name in sys.modules if not name.startswith("agent_")}
recorder = agent_stash.Recorder()

try:
    import atexit
    import ctypes
    import errno
    import gc
    import importlib.util
    import os
    import socket
    import time

    import agent_child
    import agent_clone
    import agent_end
    import agent_preload
    import agent_program
    import agent_watch
except ImportError as error:
    import os

    os.write(2, f"server.py: {error}\n".encode())
    os._exit(3)

CONTROL_FD = 0
MAX_MESSAGE = 4096
N_FDS = 5  # of a child; after them its cgroup's
MAX_FDS = 8
ID_NAME = b"VM_AGENT_EXECUTION_ID="
EXIT_CANNOT = 3
PR_SET_MM = 35
PR_SET_MM_ARG_END = 9


def give_up(text):
    os.write(2, f"server.py: {text}\n".encode(errors="replace"))
    os._exit(EXIT_CANNOT)


def stat_fields():
    with open("/proc/self/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


class Server:
    def __init__(self, private, preload):
        self.private = private
        self.preload = preload
        self.control = socket.socket(fileno=os.dup(CONTROL_FD))
        self.cloner = agent_clone.Cloner()
        self.magic = importlib.util.MAGIC_NUMBER
        self.library = ctypes.PyDLL(None)
        self.clear_environment = self.library.clearenv
        self.prctl = self.library.prctl
        self.prctl.argtypes = [ctypes.c_int] + 4 * [ctypes.c_ulong]
        self.program_name = sys.orig_argv[0] if hasattr(sys, "orig_argv") else "python3"
        self.capture = agent_program.load_capture(private)
        self.find_areas()
        self.find_path()

    def find_areas(self):
        """Where the kernel looks for the environment and the command line that it shows of this process."""
        fields = stat_fields()
        self.arguments, self.arguments_end, environment = (int(fields[i]) for i in (45, 46, 47))
        with open("/proc/self/environ", "rb") as file:
            data = file.read()
        place = 0 if data.startswith(ID_NAME) else data.find(b"\0" + ID_NAME) + 1
        self.id_address = environment + place + len(ID_NAME) if data[place:].startswith(ID_NAME) else 0
        self.id_size = len(data[place + len(ID_NAME):].split(b"\0")[0])

    def find_path(self):
        """What is searched without PYTHONPATH."""
        path = os.environ.get("PYTHONPATH")
        ours = {os.path.abspath(entry) for entry in path.split(":")} if path is not None else ()
        self.own_path = [entry for entry in sys.path if entry not in ours]

    def load(self):
        names = [name for name in self.preload.split(",") if name]
        threaded = agent_preload.load(names, recorder.note_filters)
        if threaded:
            os.write(2, f"server.py: {threaded} starts threads, and is not loaded ahead\n".encode())
            names.remove(threaded)
            self.start_again(names)
        self.names = names
        self.has_libraries = bool(names)
        self.early = self.early_settings(os.environ)

    def start_again(self, names):
        server = os.path.join(self.private, "server.py")
        argv = [self.program_name, server, *([f"--preload={','.join(names)}"] if names else [])]
        os.execve(sys.executable, argv, dict(os.environb))

    def early_settings(self, environment):
        names = agent_preload.early_settings(environment, self.has_libraries)
        return {name: environment[name] for name in names}

    def prepare(self):
        atexit.register(self.finish)  # before all others, so that it is called after them
        self.load()
        if self.capture:
            self.capture.preloaded()
        self.child = agent_child.Child(self)
        self.unseen = agent_end.Unseen(self.library.fflush)
        modules = [module for name, module in sys.modules.items() if not name.startswith("agent_")]
        self.directories = agent_watch.directories(self.own_path, modules)
        planned = agent_preload.planned(self.names)
        self.stash = agent_stash.Stash(recorder, VISIBLE, planned, agent_preload.RENEWALS, agent_preload.renew)
        self.stash.install()
        # The interpreter of a child would take it apart, piece by piece.
        self.library.Py_IncRef(ctypes.py_object(self))
        self.forget_recent()
        gc.collect()
        gc.freeze()

    def forget_recent(self):
        """What importlib knows of directories is by their times, which do not tell changes that follow at once."""
        for place, finder in sys.path_importer_cache.items():
            try:
                is_recent = abs(time.time() - os.stat(place).st_mtime) < 2
            except OSError:
                is_recent = True
            if is_recent and hasattr(finder, "invalidate_caches"):
                finder.invalidate_caches()

    def is_fit(self, path):
        """Whether a program, given its environment and working directory, can tell this from a start of its own."""
        if self.early_settings(os.environ) != self.early:
            return False
        return not self.has_libraries or self.stash.is_free([os.path.dirname(path), os.getcwd()])

    def expect_end(self, source):
        """Outputs are complete when the program has ended, in whatever way."""
        if self.capture:
            atexit.register(self.capture.end)
            self.stay_before_matplotlib()

        def on_end(value):
            self.unseen.has_ended = True
            if self.capture:
                self.capture.value(value)
                self.capture.end()
                atexit.unregister(self.capture.end)

        ending = agent_program.Ending(source, on_end)
        atexit.register(ending.collect)
        if ending.is_watched:  # and would see our own steps at the exit
            atexit.register(sys.settrace, None)
            atexit.register(sys.setprofile, None)

    def stay_before_matplotlib(self):
        """It registers a function that closes all figures, which are to be drawn before."""
        hooks = self.capture.part("hooks")
        patch = hooks.patch

        def patch_and_register(name, module):
            patch(name, module)
            atexit.unregister(self.capture.end)
            atexit.register(self.capture.end)

        hooks.patch = patch_and_register

    def finish(self):
        """The last function that is called at the exit, as it was the first to be registered."""
        self.unseen.finish()
        self.stash.take_back()

    def set_command_line(self, script):
        text = self.program_name.encode() + b"\0" + script + b"\0"
        size = self.arguments_end - self.arguments
        if len(text) <= size:
            ctypes.memmove(self.arguments, text.ljust(size, b"\0"), size)
            # Where it is allowed, without what is left of ours.
            self.prctl(PR_SET_MM, PR_SET_MM_ARG_END, self.arguments + len(text), 0, 0)

    def serve(self):
        """Returns in children, with their job."""
        self.control.send(b"ready\0" + b"".join(os.fsencode(path) + b"\0" for path in self.directories))
        while True:
            data, ancillary, _, _ = self.control.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(MAX_FDS * 4))
            if not data:
                os._exit(0)
            fds = []
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds += [
                        int.from_bytes(payload[i:i + 4], sys.byteorder) for i in range(0, len(payload) // 4 * 4, 4)
                    ]
            try:
                if len(fds) < N_FDS:
                    raise OSError(errno.EINVAL, "too few descriptors")
                pid, placed = self.cloner.fork(fds[N_FDS] if len(fds) > N_FDS else None)
                answer = b"child", pid, int(placed)
            except OSError as error:
                pid, answer = None, (b"failed", error.errno)
            if pid == 0:
                return self.be_child(data, fds)
            # First: the agent may find out at once whether the child's end of a socket is still open.
            for fd in fds:
                os.close(fd)
            self.answer(*answer)

    def answer(self, word, *numbers):
        self.control.send(word + b"\0" + b"".join(b"%d\0" % number for number in numbers))

    def be_child(self, name, fds):
        os.setsid()
        self.take_descriptors(fds)
        self.show_id(name.rstrip(b"\0"))
        return self.child.wait()

    def show_id(self, name):
        """In the environment that the kernel shows of this process, and of what it forks."""
        if self.id_address and len(name) == self.id_size:
            ctypes.memmove(self.id_address, name, self.id_size)

    def take_descriptors(self, fds):
        self.control.detach()
        for fd, target in zip(fds, (0, 1, 2, agent_child.RICH_FD, agent_child.JOB_FD)):
            os.dup2(fd, target, target < 3)
        os.close(3)
        os.closerange(agent_child.FIRST_FREE_FD, 1024)


def keep_low_descriptors():
    """So that what the agent sends is none of those that children have it at."""
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > 9:
            os.close(fd)
            return


def serve(private, preload):
    """Returns in a child that is ready to run its program; else never."""
    keep_low_descriptors()
    try:
        server = Server(private, preload)
        server.prepare()
        job = server.serve()
    except OSError as error:
        give_up(error)
    server.child.become(job)
