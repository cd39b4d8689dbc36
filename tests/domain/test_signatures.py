"""Webhooks' signatures against the reference library, and everything that must not pass."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks

from roost.domain.signatures import (
    TOLERANCE_MS,
    check_secret,
    new_secret,
    new_signing_key,
    public_key,
    sign,
    verify,
)
from roost.errors import InvalidRequest, InvalidSignature

SECONDS = 1_795_000_000
NOW = SECONDS * 1000
SECRET = new_secret(bytes(range(32)))
OTHER = new_secret(bytes(range(100, 140)))
BODY = '{"type":"user.created","name":"Zoë","n":1.0}'.encode()


def headers(id: str = "msg_1", seconds: int = SECONDS, signature: str = "") -> dict[str, str]:
    return {"webhook-id": id, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def reference(id: str = "msg_1", seconds: int = SECONDS, body: bytes = BODY, secret: str = SECRET) -> str:
    """As the authors of the specification sign."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return str(standardwebhooks.Webhook(secret).sign(msg_id=id, timestamp=moment, data=body.decode()))


def fits(secrets: list[str], given: dict[str, str], body: bytes = BODY, now: int = NOW) -> bool:
    try:
        verify("standard", secrets, given, body, now)
    except InvalidSignature:
        return False
    return True


@pytest.mark.feature("webhooks-in")
def test_what_the_reference_library_signs_is_verified() -> None:
    assert verify("standard", [SECRET], headers(signature=reference()), BODY, NOW).id == "msg_1"


@pytest.mark.feature("webhooks-out")
def test_the_reference_library_verifies_what_is_signed() -> None:
    now = int(datetime.now(UTC).timestamp())
    given = headers(seconds=now, signature=sign([SECRET], "msg_1", now, BODY))
    assert standardwebhooks.Webhook(SECRET).verify(BODY, given)["type"] == "user.created"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(BODY, given)


@pytest.mark.feature("webhooks-out")
def test_while_a_secret_is_replaced_holders_of_either_can_verify() -> None:
    now = int(datetime.now(UTC).timestamp())
    given = headers(seconds=now, signature=sign([OTHER, SECRET], "msg_1", now, BODY))
    for secret in (SECRET, OTHER):
        assert standardwebhooks.Webhook(secret).verify(BODY, given)


@pytest.mark.feature("webhooks-out")
def test_a_public_key_checks_what_its_private_key_signed_and_nothing_else() -> None:
    private, other = new_signing_key(bytes(range(32))), new_signing_key(bytes(32))
    # RFC 8032's own first pair, so that it is ed25519 and not something that only agrees with itself.
    seed = base64.b64encode(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")).decode()
    shown = base64.b64encode(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")).decode()
    assert public_key(f"whsk_{seed}") == f"whpk_{shown}"
    given = headers(signature=sign([SECRET, private], "msg_1", SECONDS, BODY))
    # Who knows v1 alone is not disturbed, nor is who knows the public key alone.
    assert [part.partition(",")[0] for part in given["webhook-signature"].split(" ")] == ["v1", "v1a"]
    assert fits([SECRET], given)
    assert fits([public_key(private)], given)
    assert fits([public_key(other), public_key(private)], given)
    assert not fits([public_key(other)], given)
    assert not fits([public_key(private)], given, BODY + b" ")
    assert not fits([public_key(private)], given, now=NOW + TOLERANCE_MS + 1_000)
    # The public key is public: as a shared secret, or with the versions swapped, it opens nothing.
    forged = hmac.new(base64.b64decode(public_key(private)[5:]), f"msg_1.{SECONDS}.".encode() + BODY, hashlib.sha256)
    assert not fits([public_key(private)], headers(signature=f"v1,{base64.b64encode(forged.digest()).decode()}"))
    swapped = given["webhook-signature"].replace("v1a,", "v2,").replace("v1,", "v1a,")
    assert not fits([SECRET, public_key(private)], headers(signature=swapped))
    check_secret("standard", public_key(private), "secrets[0]")
    for wrong in ("whpk_", "whpk_AAAA", "whpk_%%%"):
        with pytest.raises(InvalidRequest):
            check_secret("standard", wrong, "secrets[0]")


@pytest.mark.feature("webhooks-in")
def test_several_signatures_and_several_secrets() -> None:
    good, foreign = reference(), reference(secret=OTHER)
    assert fits([OTHER, SECRET], headers(signature=good))
    assert fits([SECRET], headers(signature=f"{foreign} v1a,whatever {good}"))
    assert not fits([SECRET], headers(signature=foreign))
    assert not fits([SECRET], headers(signature=good.replace("v1,", "v2,")))
    assert not fits([], headers(signature=good))
    assert not fits([SECRET], headers(signature=" ".join([foreign] * 50 + [good])))


@pytest.mark.feature("webhooks-in")
def test_no_byte_may_change() -> None:
    signature = reference()
    for place in range(len(BODY)):
        for bit in range(8):
            changed = bytearray(BODY)
            changed[place] ^= 1 << bit
            assert not fits([SECRET], headers(signature=signature), bytes(changed))
    for extra in (BODY + b" ", BODY[:-1], b""):
        assert not fits([SECRET], headers(signature=signature), extra)
    for place in range(len(signature)):
        if signature[place] != "=":
            other = "A" if signature[place] != "A" else "B"
            assert not fits([SECRET], headers(signature=signature[:place] + other + signature[place + 1 :]))
    assert not fits([SECRET], headers(id="msg_2", signature=signature))
    assert not fits([SECRET], headers(seconds=SECONDS + 1, signature=signature))


@pytest.mark.feature("webhooks-in")
@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_every_header_is_needed(missing: str, value: str | None) -> None:
    given = headers(signature=reference())
    if value is None:
        del given[missing]
    else:
        given[missing] = value
    assert not fits([SECRET], given)


@pytest.mark.feature("webhooks-in")
@pytest.mark.parametrize(
    ("off", "passes"),
    [(0, True), (-TOLERANCE_MS, True), (TOLERANCE_MS, True), (TOLERANCE_MS + 1, False), (-TOLERANCE_MS - 1, False)],
)
def test_a_replay_outside_the_window_is_refused(off: int, passes: bool) -> None:
    assert fits([SECRET], headers(signature=reference()), now=NOW + off) is passes


@pytest.mark.feature("webhooks-in")
@pytest.mark.parametrize(
    "text", ["", "x", "-1", "+1795000000", "01795000000", "1795000000.0", "\uff11\uff17\uff19", "9" * 40]
)
def test_a_timestamp_has_one_form(text: str) -> None:
    assert not fits([SECRET], {**headers(signature=reference()), "webhook-timestamp": text})


@pytest.mark.feature("webhooks-in")
def test_an_id_with_a_dot_is_refused_as_it_could_be_cut_elsewhere() -> None:
    """One signature fits (id, time, body) and every other way to cut the same bytes."""
    signature = reference(id="a", body=f"{SECONDS}.body".encode())
    cut = headers(id=f"a.{SECONDS}", signature=signature)
    assert sign([SECRET], f"a.{SECONDS}", SECONDS, b"body") == signature
    assert not fits([SECRET], cut, b"body")
    for id in ("a\nb", "", "x" * 300, "ä"):
        assert not fits([SECRET], headers(id=id, signature=sign([SECRET], id, SECONDS, BODY)))


def github(secret: str, body: bytes = BODY) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-hub-signature-256": f"sha256={digest}", "x-github-delivery": "72d3162e"}


def stripe(secret: str, body: bytes = BODY, seconds: int = SECONDS) -> dict[str, str]:
    digest = hmac.new(secret.encode(), b"%d.%s" % (seconds, body), hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={seconds},v0=beef,v1={digest}"}


@pytest.mark.feature("webhooks-in")
def test_github() -> None:
    """With the example of GitHub's documentation."""
    given = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-delivery": "72d3162e",
    }
    assert verify("github", ["It's a Secret to Everybody"], given, b"Hello, World!", NOW).id == "72d3162e"
    for wrong in (
        {**given, "x-hub-signature-256": given["x-hub-signature-256"].replace("7571", "7570")},
        {**given, "x-hub-signature-256": given["x-hub-signature-256"].removeprefix("sha256=")},
        {"x-hub-signature": "sha1=0", "x-github-delivery": "1"},
        {},
    ):
        with pytest.raises(InvalidSignature):
            verify("github", ["It's a Secret to Everybody"], wrong, b"Hello, World!", NOW)
    assert verify("github", ["first one", "second one"], github("second one"), BODY, NOW)


@pytest.mark.feature("webhooks-in")
def test_stripe() -> None:
    body = b'{"id":"evt_1","type":"invoice.paid"}'
    given = stripe("whsec_test_secret", body)
    assert verify("stripe", ["whsec_test_secret"], given, body, NOW).id == "evt_1"
    wrong: list[tuple[dict[str, Any], bytes, int]] = [
        (given, body + b" ", NOW),
        (given, body, NOW + TOLERANCE_MS + 1),
        ({"stripe-signature": given["stripe-signature"].replace("t=", "t=1,t=")}, body, NOW),
        ({"stripe-signature": given["stripe-signature"].replace("v1=", "v0=")}, body, NOW),
        ({"stripe-signature": "v1=x"}, body, NOW),
        ({}, body, NOW),
    ]
    for given, text, now in wrong:
        with pytest.raises(InvalidSignature):
            verify("stripe", ["whsec_test_secret"], given, text, now)


@pytest.mark.feature("webhooks-in")
def test_secrets_are_of_their_scheme() -> None:
    check_secret("standard", SECRET, "secrets[0]")
    check_secret("github", "It's a Secret to Everybody", "secrets[0]")
    for scheme, secret in (
        ("standard", "whsec_short"),
        ("standard", "whsec_" + "A" * 200),
        ("standard", "not base64, that is sure at once"),
        ("github", "short"),
        ("stripe", "schlüssel-mit-umlaut"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            check_secret(scheme, secret, "secrets[0]")  # type: ignore[arg-type]
        assert refused.value.path == "secrets[0]"
