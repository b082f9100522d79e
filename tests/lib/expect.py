# SPDX-License-Identifier: Apache-2.0
"""What every answer must look like."""

import re

TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
REQUEST_ID = re.compile(r"^req_[0-9A-Za-z]{8,}$")
REASONS = {"exit", "signal", "timeout", "oom", "output_limit", "cancelled", "cpu_limit"}

RESULT_TYPES = {
    "success": bool,
    "stdout": str,
    "stderr": str,
    "exit_code": int,
    "execution_time": (int, float),
    "reason": str,
    "stdout_truncated": bool,
    "stderr_truncated": bool,
    "stdout_bytes": int,
    "stderr_bytes": int,
    "timestamp": str,
}


def expect_json(response, status=200):
    """The document of an answer that is JSON, with the headers that every answer has."""
    assert response.status_code == status, f"{response.status_code}: {response.text[:2000]}"
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["X-Request-ID"]
    return response.json()


def expect_error(response, status, code, field=None):
    """An error in the flat shape that all clients understand; `field` is the JSON pointer it must blame."""
    document = expect_json(response, status)
    assert document["code"] == code, document
    assert document["error"] == document["message"] != ""
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert TIMESTAMP.match(document["timestamp"])
    blamed = (document.get("details") or {}).get("field")
    if field is None:
        assert not blamed, document
    else:
        assert blamed == field, document
    return document


def expect_result(response, exit_code=0, reason="exit"):
    """The result of an execution that was started, however it ended."""
    result = expect_json(response)
    for name, types in RESULT_TYPES.items():
        assert name in result, f"{name} is missing in {sorted(result)}"
        assert isinstance(result[name], types), f"{name}: {result[name]!r}"
        assert isinstance(result[name], bool) == (types is bool), f"{name}: {result[name]!r}"
    assert TIMESTAMP.match(result["timestamp"])
    assert result["reason"] in REASONS
    short = {name: str(value)[:2000] for name, value in result.items()}
    assert (result["exit_code"], result["reason"]) == (exit_code, reason), short
    assert result["success"] is (exit_code == 0 and reason == "exit"), short
    return result
