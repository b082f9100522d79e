# SPDX-License-Identifier: Apache-2.0
"""Where a change means that what a fork server has loaded, or found missing, is out of date."""

import os
import sys


def user_site():
    site = sys.modules.get("site")
    try:
        return site.getusersitepackages() if site.ENABLE_USER_SITE is not None else None
    except Exception:
        return None


def places_of(module):
    try:
        places = [place for place in getattr(module, "__path__", None) or () if isinstance(place, str)]
        file = getattr(module, "__file__", None)
    except Exception:  # modules can be anything
        return []
    return places + ([os.path.dirname(file)] if isinstance(file, str) else [])


def directories(path, modules):
    """All directories, without repeats. @path: what the server itself searches.

    Those that do not exist are among them: the agent waits for their first missing part, and for nothing else that
    happens in the directory above, which may be a busy one such as a home."""
    wanted = list(path)
    for module in modules:
        wanted += places_of(module)
    wanted.append(user_site())
    # A virtual environment is defined by a file beside its bin, or in it.
    if sys.prefix != sys.base_prefix or os.path.exists(os.path.join(sys.prefix, "pyvenv.cfg")):
        wanted.append(sys.prefix)
    found = {}
    for place in wanted:
        place = place and os.path.abspath(place)
        if place and place != "/":
            found[place] = None
    return list(found)
