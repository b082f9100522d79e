# SPDX-License-Identifier: Apache-2.0
"""Tokens of every kind, honest and forged."""

import base64
import hashlib
import hmac
import json
import time

import jwt

SECRET = "integration-tests-secret-0123456789abcdef"
HOUR = 3600


def claims(ttl=HOUR, **extra):
    """The claims of a good token; None as a value leaves a claim out."""
    now = int(time.time())
    merged = {"sub": "tests", "iat": now, "exp": now + ttl, **extra}
    return {name: value for name, value in merged.items() if value is not None}


def token(secret=SECRET, algorithm="HS256", ttl=HOUR, **extra):
    return jwt.encode(claims(ttl, **extra), secret, algorithm=algorithm)


def _segment(data):
    if not isinstance(data, bytes):
        data = json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header, payload, key=b"", digest=hashlib.sha256):
    """A token put together by hand, for what a JWT library refuses to make. No signature without a key."""
    signed = f"{_segment(header)}.{_segment(payload)}"
    signature = hmac.new(key, signed.encode(), digest).digest() if key else b""
    return f"{signed}.{_segment(signature)}"


def bearer(value):
    return {"Authorization": f"Bearer {value}"}
