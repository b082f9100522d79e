# SPDX-License-Identifier: Apache-2.0
"""What keeps a long run small and quick: thousands of tests share one process."""

import ctypes
import functools
import gc
import ssl

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of <malloc.h>
MIB = 1024 * 1024


def return_freed_memory():
    """What tests with large contents let go goes back to the system. As it comes, the C library keeps an arena for each
    thread, with holes of megabytes, and takes the more into them the larger what was freed before."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # not every C library has it
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, MIB)


def load_authorities_once():
    """Each HTTP client makes a context for TLS, for which it parses all certificate authorities: 20 ms, and a megabyte.
    Hardly any of them ever speaks TLS, and those that do may share what does not change."""
    ssl.create_default_context = functools.cache(ssl.create_default_context)


def forget_garbage():
    """Failed requests leave cycles, with all that their frames had. They would wait for as many new objects as there
    are old ones."""
    gc.collect()


def keep_what_there_is():
    """What has been imported and collected stays until the end: garbage need not be looked for in it."""
    gc.collect()
    gc.freeze()
