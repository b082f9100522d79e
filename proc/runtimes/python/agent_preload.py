# SPDX-License-Identifier: Apache-2.0
"""What a fork server loads ahead, and what has to be made anew in children because it must not be shared, or because
the machine may have been copied since."""

import ctypes
import importlib
import itertools
import os
import sys
import time

# What a module's users are about to need, beyond what it imports itself.
FOLLOWERS = {
    "PIL": ("PIL.Image", "PIL.PngImagePlugin"),
    "matplotlib": ("matplotlib.pyplot", "matplotlib.backends.backend_agg"),
    "numpy": ("numpy.random", "numpy.linalg", "numpy.fft"),
    "plotly": ("plotly.graph_objects", "plotly.express"),
}

# While loading: a process with threads cannot be forked, and there is no display. The last one stays in effect: threads
# that OpenBLAS gets in a child turn for half a millisecond before they sleep, and not for thirty.
SETTINGS = {
    "BLIS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_THREAD_TIMEOUT": "20",
}

# A program whose environment differs in these from the server's starts cold: their time has passed.
EARLY = ("HOME", "LANG", "LANGUAGE", "VIRTUAL_ENV")
EARLY_PREFIXES = ("PYTHON", "LD_", "LC_", "GLIBC_", "MALLOC_")
EARLY_LIBRARIES = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_", "NUMEXPR_", "NPY_", "NUMPY_", "MPL", "MATPLOTLIB", "PANDAS_", "XDG_")
LATE = ("PYTHONPATH",)

class Quiet:
    """Nothing that an import prints reaches the server's own output."""

    def __enter__(self):
        sys.stdout.flush()
        sys.stderr.flush()
        self.saved = [os.dup(1), os.dup(2)]
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *_):
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, saved in zip((1, 2), self.saved):
            os.dup2(saved, fd)
            os.close(saved)


def n_threads():
    return len(os.listdir("/proc/self/task"))


def planned(names):
    """What programs are likely to import, the modules that were asked for first: what these load as they need it must
    not be there before."""
    return [*names, *(module for name in names for module in FOLLOWERS.get(name, ()) if name in sys.modules)]


def load_one(name):
    try:
        importlib.import_module(name)
    except BaseException:  # it is none of ours; a program will see it for itself
        pass


def load(names, note_filters):
    """Returns the name of a module that has started a thread, with which nothing can be forked any more, or None."""
    missing = [name for name in SETTINGS if name not in os.environ]
    os.environ.update({name: SETTINGS[name] for name in missing})
    try:
        with Quiet():
            for name in names:
                load_one(name)
                note_filters(name)
                if n_threads() > 1:
                    return name
            for name in planned(names)[len(names):]:
                load_one(name)
                note_filters(name)
                if n_threads() > 1:
                    return name.partition(".")[0]
        take_notes()
    finally:
        for name in missing:
            os.environ.pop(name, None)
    return None


def early_settings(names, has_libraries):
    """What of an environment, an iterable of names, counts only when things are loaded."""
    prefixes = EARLY_PREFIXES + (EARLY_LIBRARIES if has_libraries else ())
    return {name for name in names if (name.startswith(prefixes) or name in EARLY) and name not in LATE}


# Files of settings, as they were found when things were loaded.
first_files = {}
libraries = {}


def take_notes():
    """What renewals need to know of the state in which things were loaded."""
    module = sys.modules.get("matplotlib")
    if module is not None:
        first_files["matplotlib"] = module.matplotlib_fname()
    if "numpy" in sys.modules:
        libraries["blas"] = find_blas()


def renew_logging(module):
    now = time.time_ns if isinstance(module._startTime, int) else time.time
    module._startTime = now()


def renew_process(module):
    module.ORIGINAL_DIR = os.path.abspath(os.getcwd())
    module._process_counter = itertools.count(1)
    module.current_process()._config["authkey"] = module.AuthenticationString(os.urandom(32))


def renew_tempfile(module):
    module._name_sequence = None
    module.tempdir = None


def renew_uuid(module):
    module._node = None
    module._last_timestamp = None


def renew_platform(module):
    module._uname_cache = None


def renew_matplotlib(module):
    file = module.matplotlib_fname()
    if file != first_files.setdefault("matplotlib", file):
        module.rcParams.update(module.rc_params_from_file(file))


def find_blas():
    """The function that sets the number of threads of the library that numpy calculates with."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "openblas" in line.rpartition("/")[2]}
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        for prefix in ("", "scipy_"):
            for suffix in ("", "64_"):
                try:
                    return getattr(library, f"{prefix}openblas_set_num_threads{suffix}")
                except AttributeError:
                    continue
    return None


def renew_numpy(_):
    """It was loaded with one thread. Programs have as many as if they had loaded it themselves."""
    for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value):
            wanted = int(value)
            break
    else:
        wanted = len(os.sched_getaffinity(0))
    if wanted > 1 and libraries.get("blas"):
        libraries["blas"](wanted)


def renew_threading(module):
    set_id = getattr(module.main_thread(), "_set_native_id", None)
    if set_id:
        set_id()


# What is done when a program gets the module.
RENEWALS = {
    "_ssl": lambda module: module.RAND_add(os.urandom(32), 32.0),
    "logging": renew_logging,
    "matplotlib": renew_matplotlib,
    "multiprocessing.process": renew_process,
    "numpy": renew_numpy,
    "numpy.random.mtrand": lambda module: module.seed(),
    "platform": renew_platform,
    "random": lambda module: module.seed(),
    "tempfile": renew_tempfile,
    "threading": renew_threading,
    "uuid": renew_uuid,
}


def renew(name, module):
    try:
        RENEWALS[name](module)
    except Exception:  # of another version
        pass
