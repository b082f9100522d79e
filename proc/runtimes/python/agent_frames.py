# SPDX-License-Identifier: Apache-2.0
"""Hides a driver's frames from the program that it runs: from traceback.print_stack(), inspect.stack(),
sys._getframe(), the levels of warnings, and the count of recursions.

The interpreter keeps the innermost frame in the state of its thread. While a program runs below, that pointer is NULL
for the frame that runs it, so that the chain of frames ends where it ends for a script. Where it lies depends on the
version: it is looked for by its value, which is known, and memory is read and written as a file, so that a wrong guess
is an error. Where it is not found the frames are visible, and nothing else differs.
"""

import os
import sys

MEMORY = "/proc/self/mem"
WORD = 8
N_WORDS = 40  # of the thread's state; the pointer is among the first in all versions
FRAME_OF_OBJECT = 24  # PyFrameObject.f_frame, from 3.11 on
OWN_DEPTH = 2  # driver.py, and the function that calls cut()


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


def thread_state():
    """The address of the thread's state. The package ctypes would take longer to load than all else here."""
    had_it = "_ctypes" in sys.modules
    import _ctypes

    if not had_it:
        del sys.modules["_ctypes"]

    class Pointer(_ctypes._SimpleCData):
        _type_ = "P"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
        _restype_ = Pointer

    return Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "PyThreadState_Get"))()


def words(data, size=WORD):
    return [int.from_bytes(data[i:i + size], sys.byteorder) for i in range(0, len(data), size)]


def pointer_to(fd, frame):
    """What stands for a frame object in the thread's state."""
    if sys.version_info < (3, 11):
        return id(frame)
    return words(os.pread(fd, WORD, id(frame) + FRAME_OF_OBJECT))[0]


def find_pointer(fd, state):
    """The address of the pointer to the innermost frame, which is this function's when it reads the memory."""
    wanted = pointer_to(fd, sys._getframe()).to_bytes(WORD, sys.byteorder)
    data = os.pread(fd, N_WORDS * WORD, state)
    # From 3.11 to 3.12 there is another structure in between, which lies on the stack.
    is_deep = (3, 11) <= sys.version_info < (3, 13)
    for place in range(0, len(data), WORD):
        word = data[place:place + WORD]
        if not is_deep and word == wanted:
            return state + place
        if is_deep and word[6:] == b"\0\0" and any(word[4:6]):
            address = int.from_bytes(word, sys.byteorder)
            try:
                inner = os.pread(fd, 2 * WORD, address)
            except OSError:
                continue
            if wanted in (inner[:WORD], inner[WORD:]):
                return address + inner.index(wanted)
    return None


def forgive(fd, state, depth):
    """Has the program's first frame count as the first."""
    data = os.pread(fd, N_WORDS * WORD, state)
    if sys.version_info < (3, 11):
        place, change = 4 * WORD, -depth - 1  # recursion_depth, which exec() counts as well
    else:
        limit = sys.getrecursionlimit()
        counts = words(data, 4)
        found = [i for i in range(1, len(counts)) if counts[i] == limit and limit - 16 < counts[i - 1] < limit]
        if len(found) != 1:
            return
        place, change = (found[0] - 1) * 4, depth + (sys.version_info < (3, 12))
    count = words(data[place:place + 4], 4)[0]
    if sys.version_info >= (3, 11) or depth < count < 16:
        os.pwrite(fd, (count + change).to_bytes(4, sys.byteorder), state + place)


def cut():
    """For the caller's frame and all below: what is written to which address of memory, and what was there. None
    where it cannot be done."""
    try:
        fd = os.open(MEMORY, os.O_RDWR | os.O_CLOEXEC)
        try:
            state = thread_state()
            pointer = find_pointer(fd, state)
            if pointer is None:
                return None
            forgive(fd, state, OWN_DEPTH)
            caller = pointer_to(fd, sys._getframe(1))
            return bytes(WORD), caller.to_bytes(WORD, sys.byteorder), pointer
        finally:
            os.close(fd)
    except (ImportError, OSError, AttributeError):
        return None
