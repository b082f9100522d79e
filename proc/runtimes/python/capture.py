# SPDX-License-Identifier: Apache-2.0
"""Rich output of Python: what code draws, displays and evaluates goes to the agent, on a descriptor of its own.

A driver, which runs user code, calls in this order:

    preloaded()  in a fork server, after it has imported what is to be shared: patches what is there, loads all parts of
                 this package, so that a child pays for nothing, and draws a tiny figure, so that fonts are loaded.
                 Nothing is captured by it; without begin() the patched functions do what they always did.
    begin(fd)    or begin(fd, workspace), right before user code. Installs the finders and the builtin display().
                 Microseconds; imports nothing. The descriptor (see driver_protocol.h) is close-on-exec and stays the
                 driver's.
    value(v)     with the value of the last expression, if the program ends with one.
    end()        when user code has ended: at its end, by an exception or by sys.exit, but before threads are joined,
                 before atexit callbacks and before modules are cleared. Draws what is open.

What a driver may rely on:
  - None of these functions raises anything, except KeyboardInterrupt, which is the user's. None writes to 0, 1 or 2.
  - Nothing that comes from here is in sys.modules; whoever imported this file may take it out of there as well.
  - What user code did not import, this does not import: no matplotlib, no pandas, no json. (A C module of the
    interpreter's own may be imported for a moment; it is taken out of sys.modules again.)
  - After a fork without exec, children may display too: lines of several processes never mix, as each is written under
    a lock (fcntl, which a process loses when it dies). Figures that are open at the end are the first process's only.
  - What cannot be written (the agent has gone, the descriptor was closed or is another file now) is given up silently.

The parts are in vm_agent_capture/, and are loaded when they are needed: a program that displays nothing pays for one
look at a set per import."""

import builtins
import os
import sys

_PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vm_agent_capture")
_loaded = {}

# Modules that get patched when they have been imported; vm_agent_capture/hooks.py says how.
WATCHED = frozenset((
    "IPython.core.display",
    "IPython.core.display_functions",
    "PIL.Image",
    "matplotlib",
    "matplotlib.figure",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "plotly.io._renderers",
))

# What is there for programs that import from IPython where it is not installed.
STUBS = frozenset(("IPython", "IPython.display", "IPython.core", "IPython.core.display"))


class State:
    """What all parts share. There is one: execution and process are the same thing."""

    active = False  # between begin() and the end of the process
    fd = -1
    identity = None  # (device, inode) of the descriptor, to know it again
    pid = 0  # of the process that runs the execution: not of those that it forks
    directories = ()  # files that are saved below them are outputs
    formats = ()  # of figures, beside png, if the user chose some


state = State()


def part(name):
    """The part of that name. Not by import: sys.modules, and what is installed, are user code's."""
    try:
        return _loaded[name]
    except KeyError:
        pass
    path = os.path.join(_PARTS, name + ".py")
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader("vm_agent_capture." + name, path)
    module = type(sys)(loader.name)
    module.__dict__.update(__file__=path, part=part, state=state)
    exec(loader.get_code(loader.name), module.__dict__)
    # Of two threads that come at once one wins; parts keep what they know in objects made by the winner.
    return _loaded.setdefault(name, module)


class _Watcher:
    """First in sys.meta_path: notices the few modules that get patched, and steps aside for all others."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in WATCHED:
            return None
        return part("hooks").find_spec(_Watcher, name, path, target)


class _Stubs:
    """Last in sys.meta_path: IPython.display for programs that use it where IPython is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in STUBS:
            return None
        return part("stubs").find_spec(name)


def display(*objects, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False,
            clear=False, **more):
    """Shows objects in the richest forms that they have: figures, tables, images, HTML…

    raw=True: the objects are dicts {MIME type: data}. include, exclude: MIME types. metadata: {MIME type: dict}, with
    raw=True as it comes. display_id: a name, or True for a new one: returns a handle with display() and update()."""
    if not state.active:
        print(*objects)
        return None
    return part("display").display(objects, include, exclude, metadata, display_id, raw)


state.display = display


def begin(fd, workspace="/workspace"):
    """Installs all hooks; outputs go to fd. Files that matplotlib saves are outputs when they lie below the current
    directory or below workspace; the default is that of the agent."""
    try:
        status = os.fstat(fd)
        state.fd = fd
        state.identity = (status.st_dev, status.st_ino)
        state.pid = os.getpid()
        state.directories = tuple(path for path in (os.getcwd(), workspace) if path)
    except OSError:
        return
    state.active = True
    builtins.display = display
    sys.meta_path.insert(0, _Watcher)
    sys.meta_path.append(_Stubs)


def value(v):
    """The value of the last expression: its text as {"result": …}, and its rich forms."""
    if v is None or not state.active:
        return
    try:
        part("display").result(v)
    except (Exception, SystemExit):
        pass


def end():
    """User code has ended: draws the figures that are open, and says how much was dropped."""
    if not state.active or os.getpid() != state.pid:
        return
    try:
        if "matplotlib._pylab_helpers" in sys.modules:
            part("figures").emit_open()
    except (Exception, SystemExit):
        pass
    try:
        if "lines" in _loaded:
            part("lines").say_dropped()
    except Exception:
        pass


def preloaded():
    """In a fork server: patches what it has imported, and prepares all that children would otherwise pay for."""
    try:
        for name in sorted(os.listdir(_PARTS)):
            if name.endswith(".py"):
                part(name[:-3])
        part("lines").prepare()
        part("hooks").patch_imported()
        if "matplotlib" in sys.modules:
            part("figures").warm_up()
    except Exception:
        pass
