# SPDX-License-Identifier: Apache-2.0
"""Adds up what the stages of ./dev test left behind.

The argument is a file with one line per stage: name, kind, result file and exit status, separated by tabs.
Kinds: `meson` (the testlog.json of meson test, whose TAP tests are counted test by test), `junit` (pytest's
XML) and `status` (nothing but the exit status counts). Prints a line per stage and, as the last one, the sum.
A stage that failed without a failing test, or that ran nothing, is a failure of its own."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

TAP_LINE = re.compile(r"^(not )?ok\b(.*)$", re.MULTILINE)
TAP_SKIP = re.compile(r"#\s*skip", re.IGNORECASE)


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)

    def total(self):
        return self.passed + self.failed + self.skipped

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


def count_tap(name, output):
    counts = Counts()
    for match in TAP_LINE.finditer(output):
        is_bad, rest = match.groups()
        if TAP_SKIP.search(rest):
            counts.skipped += 1
        elif is_bad:
            counts.fail(f"{name}:{rest}")
        else:
            counts.passed += 1
    return counts


def count_meson(path):
    """One JSON document per test. A test that crashed has failed, whatever its output says."""
    counts = Counts()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            test = json.loads(line)
            tap = count_tap(test["name"], test.get("stdout") or "")
            counts.add(tap)
            if test["result"] in ("OK", "EXPECTEDFAIL"):
                if tap.total() == 0:
                    counts.passed += 1
            elif test["result"] == "SKIP":
                if tap.total() == 0:
                    counts.skipped += 1
            elif tap.failed == 0:
                counts.fail(f"{test['name']}: {test['result'].lower()}")
    return counts


def count_junit(path):
    """A test with both a failure and an error of its teardown is one failed test."""
    outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        key = (case.get("classname"), case.get("name"))
        children = {child.tag for child in case}
        outcome = "failed" if children & {"failure", "error"} else "skipped" if "skipped" in children else "passed"
        if outcomes.get(key) != "failed":
            outcomes[key] = outcome
    counts = Counts()
    for (classname, name), outcome in outcomes.items():
        if outcome == "failed":
            counts.fail(f"{classname}: {name}")
        else:
            setattr(counts, outcome, getattr(counts, outcome) + 1)
    return counts


def count_status(_):
    return Counts()


COUNTERS = {"meson": count_meson, "junit": count_junit, "status": count_status}


def count_stage(kind, path, status):
    try:
        counts = COUNTERS[kind](path)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        counts = Counts()
        counts.fail(f"no results: {error}")
        return counts
    if kind == "status":
        if status == 0:
            counts.passed = 1
        else:
            counts.fail(f"exit status {status}")
    elif status != 0 and counts.failed == 0:
        counts.fail(f"exit status {status} without a failing test")
    elif counts.passed + counts.failed == 0 and counts.skipped == 0:
        counts.fail("ran nothing")
    return counts


def main():
    total = Counts()
    with open(sys.argv[1], encoding="utf-8") as stages:
        for stage in stages:
            name, kind, path, status = stage.rstrip("\n").split("\t")
            counts = count_stage(kind, path, int(status))
            print(f"{name:<44} {counts}")
            for failure in counts.failures:
                print(f"    {failure}")
            total.add(counts)
    if total.total() == 0:
        total.fail("no stages")
    print(total)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
