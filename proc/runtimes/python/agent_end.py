# SPDX-License-Identifier: Apache-2.0
"""The end of a program that nobody would see: taking an interpreter apart takes longer than most programs do.

A child shares its memory with the server until it writes to it, and finalisation writes to nearly all of it. So where
a program has reached its end, and nothing that it leaves behind does anything when it goes, the process just ends. By
then threads have been joined, and what was registered with atexit has been called. In all other cases the interpreter
finalises, sparing what was there before the program.
"""

import gc
import os
import sys

# Beyond that, looking takes as long as doing it.
MANY = 100000

HAVE_GC = 1 << 14  # Py_TPFLAGS_HAVE_GC

# Extensions whose objects, where they have no __del__, hold nothing but memory.
HARMLESS = frozenset(
    """builtins types collections _collections _collections_abc functools _functools itertools operator _operator re
    _sre datetime decimal _decimal random _random _json _abc _io _struct _thread _weakref weakref zoneinfo _zoneinfo
    importlib _frozen_importlib _frozen_importlib_external _csv _pickle _string _typing typing _heapq _bisect math cmath
    zlib _datetime posix os sys time _contextvars contextvars _hashlib _blake2 _sha256 _md5 array mappingproxy _warnings
    _queue numpy pandas matplotlib PIL kiwisolver contourpy pytz dateutil""".split()
)

# These clean up after weak references, which nobody sees.
CLEANERS = frozenset(("weakref", "_weakrefset", "functools", "abc", "_py_abc"))


def is_python(kind):
    """Whether a class was written in Python."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None) or ""
    return kind.__module__ == "__main__" or file.endswith((".py", ".pyc"))


def is_harmless(kind):
    if hasattr(kind, "__del__"):
        return False
    return all(
        isinstance(base.__module__, str) and base.__module__.partition(".")[0] in HARMLESS or is_python(base)
        for base in kind.__mro__
    )


def is_quiet(reference):
    callback = reference.__callback__
    return callback is None or getattr(callback, "__module__", None) in CLEANERS


def standard_files():
    files = set()
    for file in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        while file is not None:
            files.add(id(file))
            file = getattr(file, "buffer", None) or getattr(file, "raw", None)
    return files


def leaves_nothing(weak_reference, objects):
    """Whether nothing happens when these objects go."""
    if len(objects) > MANY:
        return False
    kinds = {type(item) for item in objects}
    files = {kind for kind in kinds if kind.__module__ == "_io"}
    standard = standard_files()
    if not all(item.closed or id(item) in standard for item in objects if type(item) in files and hasattr(item, "closed")):
        return False
    kinds -= files
    # The collector does not know what such classes have made.
    kinds.update(item for item in objects if isinstance(item, type) and not item.__flags__ & HAVE_GC)
    if not all(map(is_harmless, kinds)):
        return False
    if any(issubclass(kind, weak_reference) for kind in kinds):
        return all(is_quiet(item) for item in objects if isinstance(item, weak_reference))
    return True


def flush():
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException:  # the interpreter will say so
        return False
    return True


class Unseen:
    """Made before the server's modules are hidden."""

    def __init__(self, flush_library):
        from _weakref import ReferenceType

        self.flush_library = flush_library
        self.weak_reference = ReferenceType
        self.has_ended = False

    def is_unseen(self):
        # Objects that were there before are not among these (gc.freeze).
        return self.has_ended and not sys.warnoptions and leaves_nothing(self.weak_reference, gc.get_objects())

    def finish(self):
        """Called when everything else was that is to be called at the exit. May not return."""
        try:
            is_unseen = self.is_unseen()
        except Exception:  # classes can be as strange as programs want
            return
        if is_unseen and flush():
            self.flush_library(None)
            os._exit(0)
