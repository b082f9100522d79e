# SPDX-License-Identifier: Apache-2.0
"""What the interpreter of a fork server imports before it runs its program (see server.py). Returns in children.

The module that the name belongs to, if there is one, is loaded too, and takes this one's place.
"""

import os
import sys


def import_real():
    """What the name sitecustomize stands for without us: the exception that importing it raises, or None."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except BaseException as error:  # it is the children's
        sys.modules["sitecustomize"] = ours
        return error
    return None


def take_environment(environ):
    """What server.py has added is not for what is imported now, nor for processes that it starts. Returns the list of
    what to preload, or None in such a process (one that was started before this: by a .pth file)."""
    preload = environ.pop("VM_AGENT_PRELOAD", "")
    path = environ.pop("VM_AGENT_PYTHONPATH", None)
    pid = environ.pop("VM_AGENT_SERVER_PID", "")
    environ.pop("PYTHONPATH", None)
    if path is not None:
        environ["PYTHONPATH"] = path
    return preload if pid == str(os.getpid()) else None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.remove(here)
    sys.path_importer_cache.pop(here, None)
    preload = take_environment(os.environ)
    error = import_real()
    if preload is None:
        if error:
            raise error
        return

    private = os.path.dirname(here)
    sys.path.insert(0, private)
    try:
        import agent_server

        sys.path.remove(private)
        agent_server.serve(private, preload)
    except BaseException as failure:
        # Without this the interpreter would go on to a program that is not there.
        os.write(2, f"server.py: {type(failure).__name__}: {failure}\n".encode(errors="replace"))
        os._exit(3)
    sys.path_importer_cache.pop(private, None)
    if error:
        raise error


main()
