# SPDX-License-Identifier: Apache-2.0
"""IPython.display for programs that were written for notebooks, where IPython is not installed.

Only programs see it: libraries that look whether IPython is there still find that it is not, when they look first."""

import os
import sys

VERSION = (8, 0, 0, "")


def find_spec(name):
    """A spec for one of capture.STUBS, if it is user code that imports it."""
    if "IPython" not in sys.modules and not _is_asked_by_user_code():
        return None
    if name != "IPython" and not hasattr(sys.modules["IPython"], "__vm_agent_stub__"):
        return None
    bootstrap = sys.modules["_frozen_importlib"]
    return bootstrap.ModuleSpec(name, _Loader(), origin="vm-agent", is_package=name in ("IPython", "IPython.core"))


def _is_asked_by_user_code():
    """Whether the import statement is in a file that is neither installed nor of the standard library."""
    frame = sys._getframe(1)
    own = (__file__, part.__code__.co_filename)
    while frame is not None:
        file = frame.f_code.co_filename
        if file not in own and not file.startswith("<frozen importlib"):
            return not _is_installed(file)
        frame = frame.f_back
    return True


def _is_installed(file):
    library = os.path.dirname(os.__file__) + "/"
    return file.startswith(library) or "/site-packages/" in file or "/dist-packages/" in file


class _Loader:
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ in ("IPython", "IPython.core"):
            module.__dict__.update(__vm_agent_stub__=True, __version__="8.0.0", version_info=VERSION,
                                   get_ipython=lambda: None, display=state.display)
        else:
            names = dict(part("ipython").NAMES, display=state.display)
            module.__dict__.update(names, __all__=sorted(names))
