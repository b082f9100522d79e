# SPDX-License-Identifier: Apache-2.0
"""What schemathesis must not make up, and what it cannot know. It imports this module by its name."""

import hashlib

import schemathesis

# Members of bodies that are programs: random text for a shell is no test of the agent, and may do anything.
PROGRAMS = {"code": "print(42)", "command": "echo"}

KEY = "Idempotency-Key"
EXAMPLE_KEY = "b7e2f9c0-build-42"  # in the document


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    return {
        name: PROGRAMS[name] if name in PROGRAMS and isinstance(value, str) and value else value
        for name, value in body.items()
    }


@schemathesis.hook
def before_call(context, case, kwargs):
    """With one key for all only the first body would get any further. So each has its own, and repeats are repeats."""
    if case.headers and case.headers.get(KEY) == EXAMPLE_KEY:
        text = repr((case.method, case.path, case.body))
        case.headers[KEY] = hashlib.sha256(text.encode()).hexdigest()
