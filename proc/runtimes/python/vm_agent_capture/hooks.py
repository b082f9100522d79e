# SPDX-License-Identifier: Apache-2.0
"""Patches of what draws, made right after a module was imported.

The patched functions are the module's own with one more step; in a process that captures nothing they do nothing else
(a fork server patches once, for all its children). They keep name, documentation and signature."""

import os
import sys


def find_spec(watcher, name, path, target):
    """What the other finders find, with a loader that lets us have the module after it was executed."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is None or finder is watcher:
            continue
        spec = find(name, path, target)
        if spec is not None:
            if spec.loader is not None:
                _watch(spec.loader, name)
            return spec
    return None


def _watch(loader, name):
    """By an attribute of that one loader, which is gone again when the module is there: a loader of our own would be
    seen by all that asks modules for their source, their data or their loader."""
    original = getattr(loader, "exec_module", None)
    if original is None or isinstance(loader, type):  # classes load what is built in: none of ours
        return

    def exec_module(module):
        original(module)
        if getattr(module, "__name__", None) == name:
            vars(loader).pop("exec_module", None)
            patch(name, module)

    # Frames of the import system are left out of tracebacks, by this name of their file.
    exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")
    try:
        loader.exec_module = exec_module
    except AttributeError:
        pass


def patch_imported():
    """Patches all that is there already."""
    for name in sorted(PATCHES):
        module = sys.modules.get(name)
        if module is not None:
            patch(name, module)


def patch(name, module):
    """Patches a module, at most once. What cannot be patched stays as it is."""
    try:
        PATCHES[name](module)
    except Exception:
        pass


def _replace(owner, name, make):
    """Puts make(original) in place of a function, looking like it."""
    original = owner.__dict__[name]
    if hasattr(original, "__vm_agent_original__"):
        return
    new = make(original)
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(new, attribute, getattr(original, attribute, None))
    new.__wrapped__ = new.__vm_agent_original__ = original
    setattr(owner, name, new)


def _as_part_of(function, module, original):
    """The same function, which seems to belong to @module: warnings are told of the line that called into it."""
    globals_ = {**globals(), "__name__": module.__name__, "__file__": module.__file__}
    code = function.__code__.replace(co_filename=original.__code__.co_filename)
    return type(function)(code, globals_, function.__name__, function.__defaults__, function.__closure__)


def _matplotlib(module):
    """Without a choice of the user's, figures are drawn in memory. matplotlib would find out by itself that there is no
    display; where there is one it would open windows, which nobody may be there to close."""
    if os.environ.get("MPLBACKEND"):
        return
    if not isinstance(dict.get(module.rcParams, "backend"), str):
        module.rcParams["backend"] = "agg"


def _figure(module):
    def savefig(original):
        part("figures").keep_original("savefig", original)

        def savefig(self, fname, *args, **kwargs):
            was_new = state.active and _quietly(part("figures").is_new, self)
            saved = original(self, fname, *args, **kwargs)
            if state.active:
                _quietly(part("figures").saved, self, fname, kwargs.get("format"), was_new)
            return saved
        return _as_part_of(savefig, module, original)

    def show(original):
        def show(self, *args, **kwargs):
            figures = part("figures")
            if not state.active or self.canvas.manager is None or figures.is_interactive():
                return original(self, *args, **kwargs)
            _quietly(figures.show_one, self)
            return None
        return show

    _replace(module.Figure, "savefig", savefig)
    _replace(module.Figure, "show", show)


def _pyplot(module):
    def show(original):
        def show(*args, **kwargs):
            if not state.active:
                return original(*args, **kwargs)
            figures = part("figures")
            if figures.is_interactive():
                _quietly(figures.emit_open)
                return original(*args, **kwargs)
            _quietly(figures.show_open)
            return None
        return show

    _replace(module, "show", show)


def _formats(module):
    """The choice of formats that notebooks have."""
    def choose(original):
        def set_matplotlib_formats(*formats, **kwargs):
            if not state.active:
                return original(*formats, **kwargs)
            state.formats = tuple(map(str, formats))
            return None
        return set_matplotlib_formats

    _replace(module, "set_matplotlib_formats", choose)


def _images(module):
    def show(original):
        def show(self, title=None, *args, **kwargs):
            if not state.active:
                return original(self, title, *args, **kwargs)
            _quietly(part("display").show, self)
            return None
        return show

    _replace(module.Image, "show", show)


def _plotly(module):
    def show(original):
        def show(fig, *args, **kwargs):
            if not state.active:
                return original(fig, *args, **kwargs)
            _quietly(part("plots").show, fig)
            return None
        return show

    _replace(module, "show", show)


def _ipython(module):
    """IPython's own functions print when no shell of it runs. With them all its objects display to us."""
    handles = part("handles")
    if module.__dict__.get("display") is state.display:  # a stub of ours
        return

    def instead(new):
        def choose(original):
            def function(*args, **kwargs):
                return (new if state.active else original)(*args, **kwargs)
            return function
        return choose

    for name, new in (("display", state.display), ("update_display", handles.update_display),
                      ("publish_display_data", handles.publish_display_data),
                      ("clear_output", handles.clear_output)):
        if callable(module.__dict__.get(name)):
            _replace(module, name, instead(new))


def _quietly(function, *args):
    """Nothing of ours is a program's failure."""
    try:
        return function(*args)
    except (Exception, SystemExit):
        return None


PATCHES = {
    "IPython.core.display": _ipython,
    "IPython.core.display_functions": _ipython,
    "PIL.Image": _images,
    "matplotlib": _matplotlib,
    "matplotlib.figure": _figure,
    "matplotlib.pyplot": _pyplot,
    "matplotlib_inline.backend_inline": _formats,
    "plotly.io._renderers": _plotly,
}
