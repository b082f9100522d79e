# SPDX-License-Identifier: Apache-2.0
"""JSON of any value, by hand: importing json costs more than a whole execution, and it refuses half of what tables
hold. What JSON lacks becomes null (NaN, NaT, infinities), ISO 8601 (dates and times) or text (all else). What the agent
would refuse is avoided as well: integers beyond 64 bit, keys that occur twice, lone surrogates."""

import sys

MAX_DEPTH = 64
MAX_TEXT = 10000  # characters of the text of an object that JSON has no form for
MAX_INTEGER = 1 << 63

_escape = None


def prepare():
    """Gets the C function that escapes strings."""
    global _escape
    try:
        _escape = part("lines").quietly_import("_json").encode_basestring
    except (ImportError, AttributeError):
        _escape = _escape_slowly


def _escape_slowly(text):
    """For interpreters without the C module."""
    known = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"%s"' % "".join(known.get(c) or (c if c >= " " else "\\u%04x" % ord(c)) for c in text)


def text(value):
    """A string as JSON."""
    if _escape is None:
        prepare()
    if type(value) is not str:
        value = str.__str__(value)
    if not value.isascii():
        value = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return _escape(value)


def encode(value, depth=0):
    """Any value as JSON, in one line."""
    kind = type(value)
    if kind is str:
        return text(value)
    if value is None or value is True or value is False:
        return "null" if value is None else "true" if value else "false"
    if kind is int:
        return str(value) if -MAX_INTEGER <= value < MAX_INTEGER else '"%s"' % _integer_text(value)
    if kind is float:
        return repr(value) if value - value == 0 else "null"
    if depth > MAX_DEPTH:
        return text("…")
    if kind is list or kind is tuple:
        return "[%s]" % ",".join([encode(element, depth + 1) for element in value])
    if kind is dict:
        return _object(value, depth)
    return _other(value, depth)


def _integer_text(value):
    try:
        return str(value)
    except ValueError:  # more digits than the interpreter is willing to write
        return hex(value)


def _object(mapping, depth):
    parts = {}
    for key, value in mapping.items():
        name = key if isinstance(key, str) else _key_text(key)
        parts[text(name)] = encode(value, depth + 1)
    return "{%s}" % ",".join(["%s:%s" % pair for pair in parts.items()])


def _key_text(key):
    if key is None or key is True or key is False:
        return encode(key)
    if isinstance(key, (tuple, list)):
        return ", ".join(map(_key_text, key))
    return _describe(key)


def _describe(value):
    try:
        return str(value)[:MAX_TEXT]
    except Exception as error:
        return "<%s: %s>" % (type(value).__name__, type(error).__name__)


def _other(value, depth):
    """What is no exact type of JSON's: relatives of these, numpy's, pandas', dates, bytes, and anything."""
    for base in (str, bool, int, float, list, tuple, dict):
        if isinstance(value, base):
            return encode(_plain(base, value), depth + 1)
    if isinstance(value, (set, frozenset)):
        return encode(list(value), depth)
    if isinstance(value, (bytes, bytearray)):
        return text(bytes(value).decode("utf-8", "backslashreplace"))
    try:
        return _by_name(value, depth)
    except Exception:
        return text(_describe(value))


def _plain(base, value):
    """The same without what a subclass made of it."""
    if base is str:
        return str.__str__(value)
    if base is bool or base is int:
        return int.__int__(value)
    if base is float:
        return float.__float__(value)
    return dict(value) if base is dict else list(value)


def _by_name(value, depth):
    """By type's name and by what objects can do, as importing their modules to compare is out of the question."""
    kind = type(value)
    name = kind.__name__
    if name in ("NaTType", "NAType"):
        return "null"
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        if isinstance(value, numpy.generic) and value.dtype.kind not in "biufSUV":
            return "null" if str(value) == "NaT" else text(str(value))
        plain = value.tolist()
        return encode(plain if type(plain) is not kind else float(value), depth + 1)
    if name == "Decimal":
        return text(str(value)) if value.is_finite() else "null"
    if hasattr(kind, "isoformat"):
        return text(value.isoformat())
    return text(_describe(value))
