"""Stripe's webhook signatures, checked on the raw bytes.

Source: https://docs.stripe.com/webhooks#verify-manually; agrees with `stripe.WebhookSignature`.
"""

import hmac
from collections.abc import Sequence

TOLERANCE = 300
"""Seconds that a time stamp may be old."""
_LONGEST_HEADER = 4096
_MOST_SIGNATURES = 16


class SignatureError(Exception):
    """The signature does not prove that Stripe sent this; the message says why, never a secret or a signature."""


def verify_stripe(body: bytes, header: bytes | None, secrets: Sequence[bytes], now: float) -> None:
    """Raise SignatureError unless one of our secrets made one of the header's `v1` signatures at most 300 s ago.

    Several secrets and several signatures are in force while one is being rolled. `now` is Unix time.
    """
    if not header:
        raise SignatureError("the header Stripe-Signature is missing")
    if len(header) > _LONGEST_HEADER:
        raise SignatureError("the header Stripe-Signature is too long")
    stamp: bytes | None = None
    given: list[bytes] = []
    for part in header.split(b","):
        name, _, value = part.partition(b"=")
        if name == b"v1":
            given.append(value)
        elif name == b"t" and stamp is None:
            stamp = value
    if stamp is None or not stamp.isdigit() or len(stamp) > 12:
        raise SignatureError("the header Stripe-Signature has no time stamp t=…")
    if not given:
        raise SignatureError("the header Stripe-Signature has no signature v1=…")
    signed = b"%d.%b" % (int(stamp), body)
    matched = False
    for secret in secrets:
        expected = hmac.digest(secret, signed, "sha256").hex().encode()
        for signature in given[:_MOST_SIGNATURES]:
            matched |= hmac.compare_digest(expected, signature)
    if not matched:
        raise SignatureError("no signature fits: is this endpoint's secret in HOLDFAST_STRIPE_WEBHOOK_SECRETS?")
    if int(stamp) < now - TOLERANCE:
        raise SignatureError(f"the signature is {now - int(stamp):.0f} s old; at most {TOLERANCE} s are accepted")
