# SPDX-License-Identifier: Apache-2.0
"""Rows of the result: what was measured, against what, and whether it keeps its bar."""

from dataclasses import asdict, dataclass, field
from statistics import median

FORMATS = {
    "/s": lambda v: f"{v:,.0f}/s",
    "ms": lambda v: f"{v:.2f} ms",
    "us": lambda v: f"{v:,.0f} us",
    "MB/s": lambda v: f"{v:.1f} MB/s",
    "ms/MB": lambda v: f"{v:.2f} ms/MB",
    "MB": lambda v: f"{v:.1f} MB",
    "kB": lambda v: f"{v:.0f} kB",
    "": lambda v: f"{v:.0f}",
}


@dataclass
class Row:
    name: str
    verdict: str = ""  # ok, MISS, skipped, error; empty: there is no bar
    ours: str = ""
    reference: str = ""
    ratio: str = ""
    spread: str = ""  # lowest and highest of the single rounds
    bar: str = ""
    note: str = ""
    samples: dict = field(default_factory=dict)


def _verdict(value, at_least, at_most):
    if at_least is None and at_most is None:
        return ""
    return "ok" if (value >= at_least if at_most is None else value <= at_most) else "MISS"


def ratio_row(name, unit, ours, reference, at_least=None, at_most=None):
    """Two sides measured in turn: the ratio of their medians, and of each pair for the spread."""
    ratio = median(ours) / median(reference)
    pairs = [a / b for a, b in zip(ours, reference)]
    bar = ""
    if at_least is not None:
        bar = f">= {at_least}x"
    elif at_most is not None:
        bar = f"<= {at_most}x"
    return Row(name, _verdict(ratio, at_least, at_most), FORMATS[unit](median(ours)),
               FORMATS[unit](median(reference)), f"{ratio:.2f}x",
               f"{min(pairs):.2f} .. {max(pairs):.2f}", bar,
               samples={"unit": unit, "ours": ours, "reference": reference})


def value_row(name, unit, values, at_most=None):
    """Something that has no reference but its bar."""
    spread = f"{min(values):.2f} .. {max(values):.2f}" if len(values) > 1 else ""
    return Row(name, _verdict(median(values), None, at_most), FORMATS[unit](median(values)),
               spread=spread, bar=f"<= {at_most} {unit}".rstrip() if at_most is not None else "",
               samples={"unit": unit, "ours": values})


def print_table(rows):
    """One line per row, aligned; notes follow below, so that the table stays narrow."""
    columns = ("name", "ours", "reference", "ratio", "spread", "bar", "verdict")
    lines = [columns] + [tuple(getattr(row, c) for c in columns) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    lines.insert(1, tuple("-" * w for w in widths))
    for line in lines:
        print("  ".join(text.ljust(w) if i == 0 else text.rjust(w)
                        for i, (text, w) in enumerate(zip(line, widths))).rstrip())
    for row in rows:
        if row.note:
            print(f"{row.name}: {row.note}")


def as_json(rows):
    """The rows for --json, every counted sample included."""
    return [asdict(row) for row in rows]
