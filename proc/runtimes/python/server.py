# SPDX-License-Identifier: Apache-2.0
"""python3 server.py [--preload=MODULE,MODULE…]: the fork server of proc/driver_protocol.h.

A script could only call user code from its own frames. So this one becomes another interpreter, which is told to run
the file PROGRAM, and serves from its sitecustomize module, before it has got there. Forked children return from that
module, and the interpreter itself runs their program, reports its errors and ends, as it does for every script.
"""

import os
import sys

# Each child puts its compiled program there (agent_child.py).
PROGRAM = "/proc/self/fd/3"
PRELOAD = "--preload="

# Later the command line names the program, which needs room.
ROOM = 4096


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    preload = ""
    for argument in sys.argv[1:]:
        if not argument.startswith(PRELOAD):
            sys.exit(f"server.py: unknown option {argument}")
        preload = argument[len(PRELOAD):]
    with open("/proc/self/cmdline", "rb") as file:
        program_name = file.read().split(b"\0")[0]
    environment = dict(os.environb)
    path = environment.get(b"PYTHONPATH")
    serving = os.fsencode(os.path.join(here, "serving"))
    # Empty means unset, but another "empty" would mean the working directory.
    environment[b"PYTHONPATH"] = serving + b":" + path if path else serving
    environment[b"VM_AGENT_PRELOAD"] = os.fsencode(preload)
    if path is not None:
        environment[b"VM_AGENT_PYTHONPATH"] = path
    # It serves, and nobody who inherits all this from it.
    environment[b"VM_AGENT_SERVER_PID"] = b"%d" % os.getpid()
    os.execve(sys.executable or "/proc/self/exe", [program_name, os.fsencode(PROGRAM), b" " * ROOM], environment)


main()
