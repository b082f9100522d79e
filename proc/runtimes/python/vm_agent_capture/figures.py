# SPDX-License-Identifier: Apache-2.0
"""Figures of matplotlib, and of what draws by it (seaborn, pandas' plot).

A figure is an output once: when it is displayed or shown, when it is saved as a picture, or else at the end. Changed
since, it is an output again. It is drawn by its own savefig, so that size, resolution, colours and margins are what
rcParams say; only the number of pixels is bounded."""

import io
import math
import os
import sys

MAX_PIXELS = 16_000_000
MAX_PNG = 6 << 20  # as base64 it must fit into a line
MAX_FILE = 6 << 20
MIN_SCALE = 0.1

MIMES = {
    ".png": "image/png", ".svg": "image/svg+xml", ".svgz": "image/svg+xml-compressed", ".pdf": "application/pdf",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif", ".tif": "image/tiff",
    ".tiff": "image/tiff", ".eps": "application/postscript", ".ps": "application/postscript",
}
STANDS_FOR_FIGURE = ("image/png", "image/svg+xml")

_seen = None
_originals = {}


def keep_original(name, function):
    """The function as matplotlib has it, before it was patched."""
    _originals.setdefault(name, function)


class _Quiet:
    """Drawing for us must not warn: the program would not have drawn."""

    def __enter__(self):
        import logging
        import warnings

        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("ignore")
        self.manager = logging.root.manager
        self.disabled = self.manager.disable
        self.manager.disable = logging.CRITICAL

    def __exit__(self, *error):
        self.manager.disable = self.disabled
        self.warnings.__exit__(*error)


def _mark(figure):
    """It has been seen as it is now."""
    global _seen
    if _seen is None:
        import weakref

        _seen = weakref.WeakKeyDictionary()
    _seen[figure] = True
    # "Stale" makes windows draw anew. Where there are none it tells whether a figure was changed since.
    if not is_interactive():
        figure.stale = False


def is_new(figure):
    """Whether it is no output yet as it is now."""
    return _seen is None or figure not in _seen or (figure.stale and not is_interactive())


def is_interactive():
    """Whether figures are windows, by the user's choice."""
    rc = sys.modules["matplotlib"].rcParams
    try:
        name = rc._get_backend_or_none()
        known = sys.modules["matplotlib.rcsetup"]
        return name is not None and name.lower() in [backend.lower() for backend in known.interactive_bk]
    except Exception:
        return False


def _is_empty(figure):
    return not (figure.axes or figure.lines or figure.texts or figure.images or figure.patches
                or figure.artists or figure.legends or getattr(figure, "subfigs", None))


def _scale_of(figure, dpi):
    width, height = figure.get_size_inches()
    pixels = width * height * dpi * dpi
    return math.sqrt(MAX_PIXELS / pixels) if pixels > MAX_PIXELS else 1.0


def _save(figure, form, dpi):
    buffer = io.BytesIO()
    savefig = _originals.get("savefig") or type(figure).savefig
    savefig(figure, buffer, format=form, dpi=dpi)
    return buffer.getvalue()


def _png(figure):
    rc = sys.modules["matplotlib"].rcParams
    dpi = rc["savefig.dpi"]
    dpi = float(figure.dpi if dpi == "figure" else dpi)
    scale = _scale_of(figure, dpi)
    while True:
        data = _save(figure, "png", dpi * scale)
        if len(data) <= MAX_PNG or scale < MIN_SCALE:
            return data
        scale *= math.sqrt(MAX_PNG / len(data)) * 0.9


def _wants_svg():
    return "svg" in state.formats or sys.modules["matplotlib"].rcParams["savefig.format"] == "svg"


def size_of_png(data):
    """(width, height) as its header has it."""
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def forms_of(value):
    """See display.forms_of(): a figure as png, and as svg if the user chose it. None: value is no figure."""
    if not isinstance(value, sys.modules["matplotlib.figure"].Figure):
        return None
    forms, facts, errors = {}, {}, {}
    common = {"source": "matplotlib", "has_no_text": True}
    number = getattr(value, "number", None)  # figures of pyplot's have one
    if isinstance(number, int):
        common["figure"] = number
    with _Quiet():
        try:
            forms["image/png"] = _png(value)
            width, height = size_of_png(forms["image/png"])
            facts["image/png"] = {"width": width, "height": height}
            if _wants_svg():
                forms["image/svg+xml"] = _save(value, "svg", None)
        except (Exception, SystemExit) as error:
            errors["image/png"] = part("display").describe_error(error)
            if not forms:
                forms["text/plain"] = "This figure could not be drawn: %s" % errors["image/png"]
    _mark(value)
    return forms, facts, common, errors


def _open_figures():
    managers = sys.modules["matplotlib._pylab_helpers"].Gcf.get_all_fig_managers()
    return [manager.canvas.figure for manager in sorted(managers, key=lambda manager: manager.num)]


def emit_open():
    """Sends what is open and has not been seen yet."""
    for figure in _open_figures():
        if is_new(figure) and not _is_empty(figure):
            part("display").show(figure)


def show_open():
    """plt.show() where there are no windows: as in a notebook, what was open is seen, and closed."""
    emit_open()
    sys.modules["matplotlib._pylab_helpers"].Gcf.destroy_all()


def show_one(figure):
    """figure.show() where there are no windows."""
    if is_new(figure):
        part("display").show(figure)


def _is_within(path):
    path = os.path.realpath(path)
    for directory in state.directories + (os.getcwd(),):
        directory = os.path.realpath(directory)
        if path == directory or path.startswith(directory.rstrip("/") + "/"):
            return True
    return False


def _saved_path(figure, target, form):
    """Where savefig(target, format=form) has put it; None if that is no file."""
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    if not isinstance(target, str):
        return None
    if form is None and not os.path.splitext(target)[1][1:]:
        target = target.rstrip(".") + "." + figure.canvas.get_default_filetype()
    return os.path.abspath(target)


def saved(figure, target, form, was_new):
    """A figure was saved: if that is a file that is the user's to keep, it is an output."""
    if not was_new:  # drawing it has made it look changed
        _mark(figure)
    path = _saved_path(figure, target, form)
    if path is None or not os.path.isfile(path) or not _is_within(path):
        return
    if part("lines").is_full():
        return
    suffix = "." + form.lower() if isinstance(form, str) else os.path.splitext(path)[1].lower()
    mime = MIMES.get(suffix, "application/octet-stream")
    if _emit_file(path, mime) and mime in STANDS_FOR_FIGURE:
        _mark(figure)


def _emit_file(path, mime):
    """Whether the file's content was sent."""
    size = os.stat(path).st_size
    about = {"source": "matplotlib", "filename": os.path.basename(path), "path": path, "size": size}
    is_whole = size <= MAX_FILE
    data = b""
    if is_whole:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE)
    else:
        about["truncated"] = True
    if mime == "image/png" and len(data) >= 24:
        about["width"], about["height"] = size_of_png(data)
    form, text, _, _ = part("display").prepare(mime, data)
    return part("lines").emit(mime, form, text, about) and is_whole


def is_chatter(value, depth=0):
    """Whether a value is what plotting functions return beside their effect: artists, axes, lists of them. Their text
    says nothing to anybody; a figure is no chatter."""
    modules = sys.modules
    if isinstance(value, modules["matplotlib.artist"].Artist):
        return not isinstance(value, modules["matplotlib.figure"].Figure)
    if type(value).__module__ in ("matplotlib.container", "seaborn.axisgrid"):
        return True
    if depth > 2:
        return False
    if type(value) is dict and len(value) < 100:  # boxplot()
        return any(is_chatter(element, depth + 1) for element in value.values())
    if type(value).__name__ == "ndarray" and value.dtype.kind == "O" and value.size:  # subplots()
        return is_chatter(value.flat[0], depth + 1)
    if isinstance(value, (list, tuple)) and 0 < len(value) < 1000:  # plot(), hist()
        return any(is_chatter(element, depth + 1) for element in value)
    return False


def warm_up():
    """Draws an empty pair of axes, to have all loaded that drawing needs: the backend, and the default font."""
    import matplotlib.figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _Quiet():
        figure = matplotlib.figure.Figure(figsize=(1, 1))
        FigureCanvasAgg(figure)
        figure.add_subplot().set_title("x")
        _save(figure, "png", 20)
