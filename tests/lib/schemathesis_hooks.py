# SPDX-License-Identifier: Apache-2.0
"""What schemathesis must not make up, and what it cannot know. It imports this module by its name."""

import hashlib

import schemathesis

# Members of bodies that are programs: random text for a shell is no test of the agent, and may do anything.
PROGRAMS = {"code": "print(42)", "command": "echo"}

KEY = "Idempotency-Key"
EXAMPLE_KEY = "b7e2f9c0-build-42"  # in the document


# Examples say it as clients do. On a machine that has such a directory it is not the one that the test may use.
WORKSPACE = "/workspace/"


def mapped(name, value):
    if name == "interval" and isinstance(value, (int, float)) and value > 1:
        return 1  # nobody waits for the next number for a minute
    if not isinstance(value, str):
        return value
    if name in PROGRAMS and value:
        return PROGRAMS[name]
    return value.removeprefix(WORKSPACE)


@schemathesis.hook
def map_body(context, body):
    return {name: mapped(name, value) for name, value in body.items()} if isinstance(body, dict) else body


@schemathesis.hook
def before_call(context, case, kwargs):
    """With one key for all only the first body would get any further. So each has its own, and repeats are repeats."""
    for name, value in (case.query or {}).items():
        case.query[name] = mapped(name, value)
    if case.headers and case.headers.get(KEY) == EXAMPLE_KEY:
        text = repr((case.method, case.path, case.body))
        case.headers[KEY] = hashlib.sha256(text.encode()).hexdigest()
