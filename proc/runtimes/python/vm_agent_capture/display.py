# SPDX-License-Identifier: Apache-2.0
"""Objects in all the forms that they have, by the protocol of IPython's: _repr_mimebundle_, _repr_html_ and their like.

All forms of one object go out together, in the order of ORDER, with the same metadata.group. What fails in user code
that is asked for a form is not the program's failure: the form is missing, and metadata.errors of the others says
why."""

import sys

# Each form by its method. The first are those that say most; text/plain comes last and is always there.
METHODS = (
    ("text/html", "_repr_html_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/pdf", "_repr_pdf_"),
    ("application/json", "_repr_json_"),
    ("application/javascript", "_repr_javascript_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
)
ORDER = {mime: i for i, (mime, _) in enumerate(METHODS)}
ORDER["text/plain"] = len(ORDER) + 1

# Their text is all that there is to say of them.
PLAIN = frozenset((str, bytes, bytearray, int, float, complex, bool, type(None), list, tuple, dict, set, frozenset,
                   range, type, type(len), type(lambda: None)))

# No object has this attribute, unless it has every attribute that one asks for (mocks, proxies of remote objects).
CANARY = "_ipython_canary_method_should_not_exist_"


def result(value):
    """Of the last expression: its text, and what more there is to see of it."""
    own = _own_display(value)
    if own is not None:
        return _call_quietly(own)
    if "matplotlib.artist" in sys.modules and part("figures").is_chatter(value):
        return None
    text = part("values").text_of(value)
    if type(value) not in PLAIN:
        show(value, text=text, is_result=True)
    # After the rest: a figure has no text but its own.
    part("lines").send_result(text)
    return None


def display(objects, include, exclude, metadata, display_id, raw):
    """The builtin of that name; see capture.py."""
    lines = part("lines")
    handle = None
    extra = {}
    if display_id is not None:
        handle = part("handles").handle(lines.new_group() if display_id is True else display_id)
        extra["display_id"] = str(handle.display_id)
    for value in objects:
        try:
            if raw:
                _emit_forms(dict(value), metadata or {}, extra, {})
            else:
                own = _own_display(value)
                if own is not None:
                    _call_quietly(own)
                else:
                    show(value, include, exclude, metadata, extra)
        except (Exception, SystemExit):
            pass
    return handle


def show(value, include=None, exclude=None, metadata=None, extra=None, text=None, is_result=False):
    """Sends all forms of an object. As a result it needs none if there is no form but its text."""
    lines = part("lines")
    if not is_result and lines.is_full():
        return
    forms, facts, common, errors = forms_of(value)
    wanted = {mime: data for mime, data in forms.items()
              if (not include or mime in include) and (not exclude or mime not in exclude)}
    if is_result and not forms and not errors:
        return
    if (not include or "text/plain" in include) and "text/plain" not in (exclude or ()):
        if "text/plain" not in wanted and not common.pop("has_no_text", False):
            wanted["text/plain"] = part("values").text_of(value) if text is None else text
    common.pop("has_no_text", None)
    common.update(extra or {})
    for mime, given in (metadata or {}).items():
        if isinstance(given, dict):
            facts[mime] = dict(facts.get(mime) or {}, **given)
    _emit_forms(wanted, facts, common, errors)


def forms_of(value):
    """({MIME type: data}, {MIME type: metadata}, metadata of all, {MIME type: error}) of an object, without its text.
    Data that is JSON already is an object of values.Encoded."""
    for modules, name in (("matplotlib.figure", "figures"), ("pandas", "frames"), ("PIL.Image", "images"),
                          ("plotly.basedatatypes", "plots")):
        if modules in sys.modules:
            found = part(name).forms_of(value)
            if found is not None:
                return found
    forms, facts, errors = {}, {}, {}
    if type(value) not in PLAIN and not isinstance(value, type) and not _has_everything(value):
        _ask_for_bundle(value, forms, facts, errors)
        for mime, method in METHODS:
            if mime not in forms:
                _ask(value, method, mime, forms, facts, errors)
    return forms, facts, {"source": "other"}, errors


def _has_everything(value):
    try:
        return hasattr(value, CANARY)
    except Exception:
        return True


def _method(value, name):
    try:
        method = getattr(value, name, None)
    except Exception:
        return None
    return method if callable(method) else None


def _own_display(value):
    """What shows itself, by calls of display()."""
    if type(value) in PLAIN or isinstance(value, type):
        return None
    if "plotly.basedatatypes" in sys.modules and part("plots").is_figure(value):  # would look for a notebook
        return None
    method = _method(value, "_ipython_display_")
    return None if method is None or _has_everything(value) else method


def _call_quietly(function):
    try:
        function()
    except (Exception, SystemExit):
        pass


def describe_error(error):
    """An error in one line."""
    try:
        return ("%s: %s" % (type(error).__name__, error))[:1000]
    except Exception:
        return type(error).__name__


def _ask_for_bundle(value, forms, facts, errors):
    method = _method(value, "_repr_mimebundle_")
    if method is None:
        return
    try:
        bundle = method(include=None, exclude=None)
        if isinstance(bundle, tuple) and len(bundle) == 2:
            bundle, more = bundle
            facts.update({mime: dict(about) for mime, about in (more or {}).items() if isinstance(about, dict)})
        forms.update({str(mime): data for mime, data in (bundle or {}).items() if data is not None})
    except (Exception, SystemExit) as error:
        errors["*/*"] = describe_error(error)


def _ask(value, name, mime, forms, facts, errors):
    method = _method(value, name)
    if method is None:
        return
    try:
        data = method()
        if isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], dict):
            data, facts[mime] = data
    except NotImplementedError:
        return
    except (Exception, SystemExit) as error:
        errors[mime] = describe_error(error)
        return
    if data is not None:
        forms[mime] = data


def _emit_forms(forms, facts, common, errors):
    lines = part("lines")
    common = dict(common, group=lines.new_group())
    common.setdefault("source", "other")
    if errors:
        common["errors"] = errors
    for mime in sorted(forms, key=lambda mime: ORDER.get(mime, len(ORDER))):
        try:
            form, data, is_encoded, size = prepare(mime, forms[mime])
        except (Exception, SystemExit):
            continue
        about = dict(facts.get(mime) or {}, **common)
        if size is not None:
            about["size"] = size
        lines.emit(mime, form, data, about, is_encoded)


def _is_json(mime):
    return mime == "application/json" or mime.endswith("+json")


def _is_text(mime):
    return mime.startswith("text/") or mime in ("image/svg+xml", "application/javascript", "application/xml")


def prepare(mime, data):
    """(format, data, whether it is JSON already, bytes of what is base64) as the agent is told."""
    values = part("values")
    if isinstance(data, values.Encoded):
        return "json", data.text, True, None
    if _is_json(mime):
        return "json", data, False, None
    if _is_text(mime):
        if isinstance(data, (bytes, bytearray)):
            data = bytes(data).decode("utf-8", "replace")
        return ("html" if mime == "text/html" else "text"), str(data), False, None
    if isinstance(data, str):  # base64 already, as bundles of objects have it
        data = "".join(data.split())
        return "base64", data, False, len(data) * 3 // 4 - data[-2:].count("=")
    data = bytes(data)
    return "base64", values.base64(data), False, len(data)
