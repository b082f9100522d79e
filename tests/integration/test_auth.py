# SPDX-License-Identifier: Apache-2.0
"""Who may speak: tokens good, bad and forged, bindings, and the change of the key."""

import signal
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lib import raw, tokens
from lib.expect import expect_error, expect_json
from lib.tokens import HOUR, SECRET, bearer, claims, forged, token
from lib.waiting import wait_until

OTHER_SECRET = "another-secret-that-is-long-enough-0123456789"


def bad_tokens():
    """(name, token, code)"""
    now = int(time.time())
    good = token()
    header, payload, signature = good.split(".")
    yield "expired", token(ttl=-1), "TOKEN_EXPIRED"
    yield "expired long ago", token(exp=1), "TOKEN_EXPIRED"
    yield "expired and not yet valid", token(ttl=-HOUR, nbf=now + HOUR), None
    yield "no exp", token(exp=None), "INVALID_TOKEN"
    yield "exp is text", token_with(exp="tomorrow"), "INVALID_TOKEN"
    yield "exp is null", token_with(exp=...), "INVALID_TOKEN"
    yield "exp is true", token_with(exp=True), "INVALID_TOKEN"
    yield "exp is a list", token_with(exp=[now + HOUR]), "INVALID_TOKEN"
    yield "exp is zero", token_with(exp=0), None
    yield "exp is negative", token_with(exp=-5), None
    yield "nbf in the future", token(nbf=now + HOUR), "INVALID_TOKEN"
    yield "nbf is text", token_with(nbf="yesterday"), "INVALID_TOKEN"
    yield "iat in the future", token(iat=now + HOUR), "INVALID_TOKEN"
    yield "other secret", token(OTHER_SECRET), "INVALID_TOKEN"
    yield "other algorithm", token(SECRET * 2, algorithm="HS512"), "INVALID_TOKEN"
    yield "alg none", forged({"alg": "none", "typ": "JWT"}, claims()), "INVALID_TOKEN"
    yield "alg None", forged({"alg": "None", "typ": "JWT"}, claims()), "INVALID_TOKEN"
    yield "alg none, signed", forged({"alg": "none"}, claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "no alg", forged({"typ": "JWT"}, claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "alg is a number", forged({"alg": 256}, claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "alg in lower case", forged({"alg": "hs256"}, claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "header is a list", forged(["HS256"], claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "header is no JSON", forged(b"HS256", claims(), SECRET.encode()), "INVALID_TOKEN"
    yield "claims are a list", forged({"alg": "HS256"}, [1], SECRET.encode()), "INVALID_TOKEN"
    yield "claims are no JSON", forged({"alg": "HS256"}, b"{", SECRET.encode()), "INVALID_TOKEN"
    yield "empty key", forged({"alg": "HS256"}, claims(), b"\0"), "INVALID_TOKEN"
    yield "signature cut", good[:-4], "INVALID_TOKEN"
    yield "signature dropped", f"{header}.{payload}.", "INVALID_TOKEN"
    yield "two parts", f"{header}.{payload}", "INVALID_TOKEN"
    yield "four parts", f"{good}.{signature}", "INVALID_TOKEN"
    yield "one part", "onepartonly", "INVALID_TOKEN"
    yield "only dots", "..", "INVALID_TOKEN"
    yield "claims exchanged", f"{header}.{token(sub='root').split('.')[1]}.{signature}", "INVALID_TOKEN"
    yield "not base64", f"{header}.!!!.{signature}", "INVALID_TOKEN"
    yield "white space inside", f"{header}. {payload}.{signature}", "INVALID_TOKEN"
    yield "20 KiB of claims", token(filler="x" * 20000), "INVALID_TOKEN"


def token_with(**extra):
    """A correctly signed token with claims that a JWT library would not accept; ... stands for null."""
    payload = {**claims(), **{name: None if value is ... else value for name, value in extra.items()}}
    return forged({"alg": "HS256", "typ": "JWT"}, payload, SECRET.encode())


@pytest.mark.smoke
def test_a_good_token_is_accepted_again_and_again(agent):
    for _ in range(3):
        expect_json(agent.run("true"))


@pytest.mark.parametrize("name, bad, code", [pytest.param(*row, id=row[0]) for row in bad_tokens()])
def test_bad_tokens(agent, name, bad, code):
    for _ in range(2):  # a cache must not change the verdict
        response = agent.anonymous.post("/commands/run", json={"command": "true"}, headers=bearer(bad))
        code = code or response.json()["code"]
        assert code in ("INVALID_TOKEN", "TOKEN_EXPIRED")
        expect_error(response, 401, code)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert bad not in agent.log_with(response)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "hopx_live_key"},
        {"Authorization": ""},
        {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
        {"Authorization": token()},
        {"Authorization": f"Token {token()}"},
        {"Cookie": f"token={token()}"},
    ],
    ids=["none", "api key", "empty", "basic", "no scheme", "other scheme", "cookie"],
)
def test_a_missing_token_is_told_apart_from_a_bad_one(agent, headers):
    response = agent.anonymous.post("/execute", json={"code": "1"}, headers=headers)
    expect_error(response, 401, "AUTHENTICATION_REQUIRED")


def test_no_token_in_the_query(agent):
    response = agent.anonymous.post(f"/execute?token={token()}&access_token={token()}", json={"code": "1"})
    expect_error(response, 401, "AUTHENTICATION_REQUIRED")


def test_the_scheme_is_case_insensitive(agent):
    for scheme in ("bearer", "BEARER"):
        expect_json(agent.anonymous.get("/metrics/snapshot", headers={"Authorization": f"{scheme} {token()}"}))


def test_two_authorization_headers_are_not_mixed_up(agent):
    """Either the first or the second counts, or neither: never a bad one that hides behind a good one."""
    request = (
        f"GET /metrics/snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(OTHER_SECRET)}\r\n"
        f"Authorization: Bearer {token(OTHER_SECRET)}x\r\n\r\n"
    )
    with raw.RawConnection(agent.port) as connection:
        connection.send(request.encode())
        assert connection.read_response().status_code in (400, 401)


def test_clock_skew_within_the_leeway_is_accepted(agent):
    now = int(time.time())
    fresh = token(nbf=now + 10, iat=now + 10)
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(fresh)))


def test_exp_may_be_a_fraction(agent):
    fraction = token_with(exp=time.time() + HOUR)
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(fraction)))


def test_a_cached_token_expires_too(agent):
    brief = bearer(token(ttl=2))
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=brief))

    def is_refused():
        response = agent.anonymous.get("/metrics/snapshot", headers=brief)
        return response if response.status_code == 401 else None

    expect_error(wait_until(is_refused, "expiry of the token"), 401, "TOKEN_EXPIRED")


def test_old_tokens_stay_valid_after_new_ones_were_issued(agent):
    old = bearer(token())
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(token(ttl=2 * HOUR))))
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=old))


def test_open_routes_ignore_bad_tokens(agent):
    for path in ("/", "/ping", "/health", "/info"):
        expect_json(agent.anonymous.get(path, headers=bearer("rubbish")))


BINDINGS = [
    # option, its value, claims that fit, claims that do not
    ("jwt_audience", "vm-agents", [{"aud": "vm-agents"}, {"aud": ["x", "vm-agents"]}],
     [{}, {"aud": "others"}, {"aud": []}, {"aud": ["x"]}, {"aud": "vm-agents2"}]),
    ("jwt_issuer", "control", [{"iss": "control"}], [{}, {"iss": "other"}, {"iss": ""}]),
    ("jwt_subject", "vm-7", [{"sub": "vm-7"}, {"sub": "u", "sandbox_id": "vm-7"}, {"sub": "u", "vm_id": "vm-7"}],
     [{}, {"sub": "vm-8"}, {"sandbox_id": "vm-8"}, {"name": "vm-7"}]),
]  # fmt: skip


@pytest.mark.parametrize("option, value, good, bad", BINDINGS, ids=[row[0] for row in BINDINGS])
def test_bindings(new_agent, option, value, good, bad):
    agent = new_agent(credentials=False, **{option: value})
    for extra in good:
        expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(token(**extra))))
    for extra in bad:
        response = agent.anonymous.get("/metrics/snapshot", headers=bearer(token(**extra)))
        expect_error(response, 401, "INVALID_TOKEN")
    agent.http.headers.update(bearer(token(**good[0])))


def pem_pair(key):
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


@pytest.mark.parametrize(
    "algorithm, key",
    [("RS256", rsa.generate_private_key(65537, 2048)), ("ES256", ec.generate_private_key(ec.SECP256R1()))],
    ids=["RS256", "ES256"],
)
def test_public_keys(new_agent, algorithm, key):
    private, public = pem_pair(key)
    agent = new_agent(secret=public, jwt_algorithm=algorithm)
    good = tokens.token(private, algorithm)
    for _ in range(2):
        expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(good)))

    # The classic: the public key is public, so anyone can use it as an HMAC secret.
    for secret in (public, public.rstrip(b"\n"), public.decode().strip().encode() + b"\n\n"):
        confused = forged({"alg": "HS256", "typ": "JWT"}, claims(), secret)
        response = agent.anonymous.get("/metrics/snapshot", headers=bearer(confused))
        expect_error(response, 401, "INVALID_TOKEN")

    unsigned = forged({"alg": "none"}, claims())
    expect_error(agent.anonymous.get("/metrics/snapshot", headers=bearer(unsigned)), 401, "INVALID_TOKEN")
    agent.http.headers.update(bearer(good))


def test_sighup_changes_the_key(new_agent):
    agent = new_agent()
    old = dict(agent.http.headers)
    new = bearer(token(OTHER_SECRET))
    expect_json(agent.anonymous.get("/metrics/snapshot", headers=bearer(token())))
    expect_error(agent.anonymous.get("/metrics/snapshot", headers=new), 401, "INVALID_TOKEN")

    agent.write_secret(OTHER_SECRET)
    agent.signal(signal.SIGHUP)
    wait_until(
        lambda: agent.anonymous.get("/metrics/snapshot", headers=new).status_code == 200, "the new key"
    )
    # The old token was in the cache of verified tokens, and must not live on in it.
    response = agent.anonymous.get("/metrics/snapshot", headers={"Authorization": old["authorization"]})
    expect_error(response, 401, "INVALID_TOKEN")
    agent.http.headers.update(new)


@pytest.mark.parametrize("secret", ["short", ""])
def test_sighup_with_a_bad_key_keeps_the_old_one(new_agent, secret):
    agent = new_agent()
    before = len(agent.log())
    agent.write_secret(secret)
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "secret" in agent.log()[before:], lambda: f"a complaint\n{agent.log_tail()}")
    expect_json(agent.http.get("/metrics/snapshot"))


def test_running_executions_survive_the_expiry_of_their_token(agent):
    brief = bearer(token(ttl=2))
    response = agent.anonymous.post(
        "/commands/run", json={"command": "sleep 2.5; echo late"}, headers=brief
    )
    assert expect_json(response)["stdout"] == "late\n"
