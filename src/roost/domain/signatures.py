"""Signatures of webhooks, made and checked: Standard Webhooks, GitHub's and Stripe's.

All are HMAC-SHA-256 over the raw bytes of the body, compared in constant time; several secrets are valid while one is
replaced by the next. Where a scheme signs a time, a message from outside five minutes is refused. Standard Webhooks
knows ed25519 too (``v1a``): who holds the public key alone can check a message, and make none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from roost.errors import InvalidRequest, InvalidSignature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Scheme = Literal["standard", "github", "stripe", "none"]

PREFIX = "whsec_"
PRIVATE, PUBLIC = "whsk_", "whpk_"
"""Of ed25519 keys, as Standard Webhooks write them."""
KEY_BYTES = 32
LEAST_BYTES, MOST_BYTES = 24, 64
TOLERANCE_MS = 300_000
_LONGEST_ID = 256
_MOST_SIGNATURES = 20
"""Of one message: a header of thousands would make the receiver compute for each."""


class Signed(msgspec.Struct, frozen=True):
    """A message whose signature fits: the sender's id of it, where the scheme has one."""

    id: str | None


def new_secret(random: bytes) -> str:
    """A secret as users are shown it, of ``random`` bytes (24 to 64)."""
    if not LEAST_BYTES <= len(random) <= MOST_BYTES:
        raise ValueError(f"{len(random)} bytes make no secret")
    return PREFIX + base64.b64encode(random).decode()


def new_signing_key(random: bytes) -> str:
    """A private ed25519 key of 32 ``random`` bytes."""
    if len(random) != KEY_BYTES:
        raise ValueError(f"{len(random)} bytes make no key")
    return PRIVATE + base64.b64encode(random).decode()


def public_key(private: str) -> str:
    """What checks the signatures of a private key, as users are shown it."""
    return PUBLIC + base64.b64encode(_private(private).public_key().public_bytes_raw()).decode()


def check_secret(scheme: Scheme, secret: str, path: str) -> None:
    """Refuse what cannot be a secret of ``scheme``; raises `InvalidRequest` with ``path``."""
    if scheme == "standard" and secret.startswith(PUBLIC):
        if _public(secret) is None:
            raise InvalidRequest("the key is not one of ed25519", path=path, help="whpk_ and 32 bytes in base64")
    elif scheme == "standard":
        size = len(_key(secret) or b"")
        if not LEAST_BYTES <= size <= MOST_BYTES:
            raise InvalidRequest(
                "the secret is not one of Standard Webhooks", path=path, help="whsec_ and 24 to 64 bytes in base64"
            )
    elif not 8 <= len(secret) <= 256 or not secret.isascii() or not secret.isprintable():
        raise InvalidRequest("the secret is malformed", path=path, help="8 to 256 printable ASCII characters")


def sign(secrets: Iterable[str], id: str, seconds: int, body: bytes) -> str:
    """The ``webhook-signature`` header: a signature for each secret and private key; ``seconds`` is when it is sent."""
    content = b"%s.%d.%s" % (id.encode(), seconds, body)
    return " ".join(_signature(secret, content) for secret in secrets)


def _signature(secret: str, content: bytes) -> str:
    if secret.startswith(PRIVATE):
        return f"v1a,{base64.b64encode(_private(secret).sign(content)).decode()}"
    return f"v1,{_base64(_key(secret) or b'', content)}"


def verify(scheme: Scheme, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> Signed:
    """The message, where one of ``secrets`` signed it; raises `InvalidSignature`.

    Header names are lower case, ``now`` is in milliseconds. ``none`` checks nothing.
    """
    if scheme == "standard":
        return _verify_standard(secrets, headers, body, now)
    if scheme == "github":
        return _verify_github(secrets, headers, body)
    if scheme == "stripe":
        return _verify_stripe(secrets, headers, body, now)
    return Signed(headers.get("webhook-id") or headers.get("x-github-delivery"))


def _verify_standard(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> Signed:
    id, sent, given = (_header(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    # With a dot in it, one signature would fit another message, whose id, time and body are cut elsewhere.
    if "." in id or len(id) > _LONGEST_ID or not id.isascii() or not id.isprintable():
        raise _refused("the webhook-id is malformed")
    seconds = _timely(sent, now)
    content = b"%s.%d.%s" % (id.encode(), seconds, body)
    parts = [(version, value) for version, _, value in (part.partition(",") for part in given.split(" "))]
    if len(parts) > _MOST_SIGNATURES:
        raise _refused("there are too many signatures")
    public = [known for secret in secrets if (known := _public(secret)) is not None]
    if any(_is_signed(key, value, content) for key in public for version, value in parts if version == "v1a"):
        return Signed(id)
    shared = [key for secret in secrets if not secret.startswith(PUBLIC) and (key := _key(secret))]
    _check_any([value for version, value in parts if version == "v1"], [_base64(key, content) for key in shared])
    return Signed(id)


def _verify_github(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> Signed:
    kind, _, given = _header(headers, "x-hub-signature-256").partition("=")
    if kind != "sha256":
        raise _refused("the X-Hub-Signature-256 header is malformed")
    _check_any([given], [_hex(secret, body) for secret in secrets])
    id = headers.get("x-github-delivery")
    if id is not None and len(id) > _LONGEST_ID:
        raise _refused("the X-GitHub-Delivery header is malformed")
    return Signed(id)


def _verify_stripe(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> Signed:
    pairs = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1:
        raise _refused("the Stripe-Signature header is malformed")
    seconds = _timely(times[0], now)
    content = b"%d.%s" % (seconds, body)
    _check_any([value for name, _, value in pairs if name == "v1"], [_hex(secret, content) for secret in secrets])
    return Signed(_id_in(body))


class _Identified(msgspec.Struct):
    id: str | None = None


def _id_in(body: bytes) -> str | None:
    try:
        found = msgspec.json.decode(body, type=_Identified).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found and len(found) <= _LONGEST_ID else None


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise _refused(f"the {name} header is missing")
    return value


def _timely(text: str, now: int) -> int:
    """The seconds of a timestamp; it is signed as the sender wrote it, so only the plain form is taken."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and (text == "0" or text[0] != "0")):
        raise _refused("the timestamp is malformed")
    seconds = int(text)
    if abs(now - seconds * 1000) > TOLERANCE_MS:
        raise _refused("the timestamp is over five minutes off")
    return seconds


def _check_any(given: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `InvalidSignature` unless one is wanted; all are compared, so that time tells nothing."""
    if len(given) > _MOST_SIGNATURES:
        raise _refused("there are too many signatures")
    fits = False
    for one in given:
        for other in wanted:
            fits |= hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())
    if not fits:
        raise _refused("no signature fits")


def _refused(message: str) -> InvalidSignature:
    return InvalidSignature(message, help="sign the body as it is sent, with the source's secret")


def _key(secret: str) -> bytes | None:
    """The bytes of a Standard Webhooks secret; None where it is none."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None


@lru_cache(maxsize=256)
def _private(key: str) -> Ed25519PrivateKey:
    # Loaded by those who sign with it: the library is large, and most never do.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(key.removeprefix(PRIVATE), validate=True))


@lru_cache(maxsize=256)
def _public(key: str) -> Ed25519PublicKey | None:
    """The public key that is written so; None where it is none."""
    if not key.startswith(PUBLIC):
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix(PUBLIC), validate=True))
    except (binascii.Error, ValueError):
        return None


def _is_signed(key: Ed25519PublicKey, signature: str, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature as Refused

    try:
        key.verify(base64.b64decode(signature, validate=True), content)
    except (Refused, binascii.Error, ValueError):
        return False
    return True


def _base64(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def _hex(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
