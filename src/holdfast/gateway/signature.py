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


class StripeVerifier:
    """Checks signatures against several secrets: while one is being rolled, the old and the new are in force."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # Keyed once and copied for each event: setting up a key costs more than hashing an event.
        self._keyed = [hmac.new(secret, digestmod="sha256") for secret in secrets]

    @property
    def has_secrets(self) -> bool:
        return bool(self._keyed)

    def verify(self, body: bytes, header: bytes | None, now: float) -> None:
        """Raise SignatureError unless one of our secrets made one of the header's `v1` signatures, 300 s ago at most.

        `now` is Unix time.
        """
        stamp, given = _parsed(header)
        matched = False
        for keyed in self._keyed:
            digest = keyed.copy()
            digest.update(b"%d." % stamp)
            digest.update(body)
            expected = digest.hexdigest().encode()
            for signature in given:
                matched |= hmac.compare_digest(expected, signature)
        if not matched:
            raise SignatureError("no signature fits: is this endpoint's secret in HOLDFAST_STRIPE_WEBHOOK_SECRETS?")
        if stamp < now - TOLERANCE:
            raise SignatureError(f"the signature is {now - stamp:.0f} s old; at most {TOLERANCE} s are accepted")


def _parsed(header: bytes | None) -> tuple[int, list[bytes]]:
    if not header:
        raise SignatureError("the header Stripe-Signature is missing")
    if len(header) > _LONGEST_HEADER:
        raise SignatureError("the header Stripe-Signature is too long")
    stamp: bytes | None = None
    given: list[bytes] = []
    for part in header.split(b","):
        name, *values = part.split(b"=", 2)
        if name == b"v1" and values:
            given.append(values[0])
        elif name == b"t" and values and stamp is None:
            stamp = values[0]
    if stamp is None or not stamp.isdigit() or len(stamp) > 12:
        raise SignatureError("the header Stripe-Signature has no time stamp t=…")
    if not given:
        raise SignatureError("the header Stripe-Signature has no signature v1=…")
    return int(stamp), given[:_MOST_SIGNATURES]
