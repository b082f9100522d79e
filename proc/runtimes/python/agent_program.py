# SPDX-License-Identifier: Apache-2.0
"""A program's source, compiled such that its driver hears of its end, and of the value of its last expression.

Imported by every start: what it imports is in each interpreter from its first moment on.
"""

import builtins
import sys

# A function that the program calls as the last thing that it does. No program could have a variable of that name.
END = "<end of program>"

ONLY_AST = 0x400  # PyCF_ONLY_AST of _ast, which takes a millisecond to load

parser_found = []

# How lines begin, or what they are, that may be a constant.
CONSTANT = frozenset([b"None", b"True", b"False", *(b"%c" % c for c in b"0123456789+-~.([{'\"")])
CONTINUED = (b" ", b"\t", b")", b"]", b"}")
CLOSING = (b")", b"]", b"}", b"'", b'"')
CONSTANT |= {b"%c" % c for c in b"bfruBFRU"}

# Of programs that follow their own steps.
WATCHING = (b"set_trace", b"settrace", b"setprofile", b"breakpoint", b"monitoring", b"import trace", b"rofile", b"pdb")


def read(path):
    with open(path, "rb", 0) as file:
        return file.readall()


def parser():
    """The module _ast, without its name being taken in sys.modules."""
    if not parser_found:
        had_it = "_ast" in sys.modules
        import _ast

        parser_found.append(_ast)
        if not had_it:
            del sys.modules["_ast"]
    return parser_found[0]


def is_value(body):
    """Whether a program ends with an expression. A docstring is none."""
    _ast = parser()
    if not body or not isinstance(body[-1], _ast.Expr):
        return False
    value = body[-1].value
    return len(body) > 1 or not (isinstance(value, _ast.Constant) and isinstance(value.value, str))


def add_call(tree):
    """Has END called with the value of the last expression, or with None. All else stays where it was."""
    _ast = parser()
    body = tree.body
    places = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    has_value = is_value(body)
    node = body[-1].value if has_value else body[-1] if body else None
    place = {name: getattr(node, name, 1 if "line" in name else 0) for name in places}
    function = _ast.Name(id=END, ctx=_ast.Load(), **place)
    # A program that is but a docstring has that as its value, too.
    alone = node.value.value if len(body) == 1 and not has_value and isinstance(node, _ast.Expr) else None
    value = node if has_value else _ast.Constant(value=alone, **place)
    call = _ast.Call(func=function, args=[value], keywords=[], **place)
    if has_value:
        body[-1].value = call
    else:
        body.append(_ast.Expr(value=call, **place))


def prepare(source, path):
    """The code of the program. Raises whatever compile() raises."""
    tree = compile(source, path, "exec", ONLY_AST, True)
    add_call(tree)
    return compile(tree, path, "exec", 0, True)


def operations(source):
    return compile(source, "", "exec").co_code[::2]


def may_have_value(source, code):
    """Whether a compiled program may end with an expression, other than a call of print()."""
    last = source.rstrip().rpartition(b"\n")[2]
    if b";" in last:
        return True
    if last.startswith(b"print("):
        return False
    if CONSTANT.intersection((last[:1], last)) or (last[:1] in CONTINUED and last[-1:] in CLOSING):
        return True  # constants, which the compiler drops
    short, shorter = operations("a"), operations("pass")
    end = short[2 if short[0] == shorter[0] else 1:]
    return code.co_code[-2 * len(end)::2] == end


def prepare_quickly(source, path):
    """The same, for a process in which nothing else needs the parser's types, which take long to set up: END is called
    only where there may be a value."""
    code = compile(source, path, "exec", 0, True)
    if not may_have_value(source, code):
        return code
    import _warnings

    # All that it has to say has been said.
    silence = ("ignore", None, Warning, None, 0)
    changed = getattr(_warnings, "_filters_mutated", getattr(_warnings, "_filters_mutated_lock_held", int))
    _warnings.filters.insert(0, silence)
    changed()
    try:
        return prepare(source, path)
    finally:
        _warnings.filters.remove(silence)
        changed()


def is_watched(source):
    return any(word in source for word in WATCHING)


class Ending:
    """Hears of the program's end: on_end(value) is called then, once. A program that watches itself would see that, so
    there only collect() does it, which is called at the exit."""

    def __init__(self, source, on_end):
        self.on_end = on_end
        self.values = []
        self.is_watched = is_watched(source)
        builtins.__dict__[END] = self.values.append if self.is_watched else self.end

    def end(self, value):
        builtins.__dict__.pop(END, None)
        self.on_end(value)

    def collect(self):
        while self.values:
            self.end(self.values.pop())


def load_capture(directory):
    """The module that collects rich output, hidden from the program; None where there is none."""
    before = sys.modules.copy()
    sys.path.insert(0, directory)
    try:
        import capture
    except ImportError:
        return None
    finally:
        sys.path.remove(directory)
        for name in [name for name in sys.modules if name not in before]:
            del sys.modules[name]
    return capture
