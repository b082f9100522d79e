# SPDX-License-Identifier: Apache-2.0
"""Values as text: what a prompt of the interpreter's would have printed, within bounds.

A script's last expression may be a list of a million rows that nobody wanted to see; the program must not take
noticeably longer for it. Containers of the builtin types are therefore walked first, and those that are large are
written element by element, as far as there is room."""

MAX_TEXT = 1 << 20  # bytes of UTF-8
MAX_ELEMENTS = 100_000
MAX_DEPTH = 50

BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"), dict: ("{", "}")}


class Encoded:
    """Data that is JSON text already."""

    def __init__(self, text):
        self.text = text


def base64(data):
    """Bytes as text."""
    return part("lines").quietly_import("binascii").b2a_base64(data, newline=False).decode("ascii")


def text_of(value):
    """repr(value), cut to MAX_TEXT. What it raises is told in its place."""
    try:
        text = _limited(value) if _is_large(value) else repr(value)
        text = text if type(text) is str else str.__str__(text)
    except (Exception, SystemExit) as error:
        text = "<%s: repr() failed with %s>" % (type(value).__name__, part("display").describe_error(error))
    return _cut(text)


def _cut(text):
    if len(text) * 4 <= MAX_TEXT:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_TEXT:
        return text
    kept = data[:MAX_TEXT - 100].decode("utf-8", "ignore")
    return "%s… (%d characters more)" % (kept, len(text) - len(kept))


def _is_large(value):
    """Whether there is much to write. Only builtin types can be looked into without calling user code."""
    n_left = [MAX_ELEMENTS]
    return not _fits(value, n_left, 0)


def _fits(value, n_left, depth):
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        n_left[0] -= len(value) // 16
        return n_left[0] > 0
    if kind not in BRACKETS:
        return True
    n_left[0] -= len(value)
    if n_left[0] <= 0:
        return False
    if depth > MAX_DEPTH:  # perhaps it contains itself, which repr() knows how to tell
        return True
    elements = value.values() if kind is dict else value
    return all(_fits(element, n_left, depth + 1) for element in elements if type(element) in _INTERESTING)


_INTERESTING = frozenset(BRACKETS) | {str, bytes, bytearray}


def _limited(value):
    pieces = []
    _write(value, pieces, [MAX_TEXT], 0)
    return "".join(pieces)


def _put(text, pieces, left):
    pieces.append(text)
    left[0] -= len(text)


def _write(value, pieces, left, depth):
    """Appends the text of a value, until nothing is left of what may be written."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        room = max(left[0], 0)
        _put(repr(value[:room]), pieces, left)
        if len(value) > room:
            _put("… (%d more)" % (len(value) - room), pieces, left)
    elif kind not in BRACKETS or not value:
        _put(repr(value), pieces, left)
    elif depth > MAX_DEPTH:
        _put(BRACKETS[kind][0] + "..." + BRACKETS[kind][1], pieces, left)
    else:
        _write_elements(kind, value, pieces, left, depth)


def _write_elements(kind, value, pieces, left, depth):
    opening, closing = BRACKETS[kind]
    n_written = 0
    _put(opening, pieces, left)
    for element in value:
        if left[0] <= 0:
            _put(", … (%d more)" % (len(value) - n_written), pieces, left)
            break
        if n_written:
            _put(", ", pieces, left)
        _write(element, pieces, left, depth + 1)
        if kind is dict:
            _put(": ", pieces, left)
            _write(value[element], pieces, left, depth + 1)
        n_written += 1
    _put(",)" if kind is tuple and len(value) == 1 else closing, pieces, left)
