"""What a destination receives, and how it knows that it came from us.

Source: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import secrets as randomness
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from holdfast.delivery.model import DeliveryError, Message

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
"""The spec's bounds for a key."""


class SecretError(DeliveryError):
    """A signing secret cannot be used; the message says why, never the secret."""


def new_secret() -> str:
    """A new signing secret: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def validate_secret(secret: str) -> None:
    """Raise SecretError unless the secret is `whsec_` and 24 to 64 bytes in base64."""
    _key(secret)


def headers(webhook_id: str, unix: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of one attempt made at `unix` seconds: one signature per secret, so that secrets can rotate.

    Without secrets there is no `webhook-signature`. Raises SecretError.
    """
    made = {"webhook-id": webhook_id, "webhook-timestamp": str(unix)}
    if secrets:
        signed = b"%b.%d.%b" % (webhook_id.encode(), unix, body)
        made["webhook-signature"] = " ".join([_signature(secret, signed) for secret in secrets])
    return made


def _signature(secret: str, signed: bytes) -> str:
    digest = _keyed(secret).copy()
    digest.update(signed)
    return "v1," + binascii.b2a_base64(digest.digest(), newline=False).decode()


@lru_cache(maxsize=16_384)
def _keyed(secret: str) -> hmac.HMAC:
    """Keyed once and copied for each signature: setting up a key costs more than hashing an event."""
    return hmac.new(_key(secret), digestmod="sha256")


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        raise SecretError("a signing secret begins with whsec_; give none to have one made")
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError("a signing secret is whsec_ followed by base64; this one is not base64") from None
    if len(key) not in _KEY_BYTES:
        raise SecretError(f"a signing secret holds 24 to 64 bytes; this one holds {len(key)}")
    return key


class _ReadData(msgspec.Struct):
    object: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    previous_attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Read(msgspec.Struct):
    """The parts of a provider's event that are handed on unread."""

    data: _ReadData | None = None
    related_object: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _WrittenData(msgspec.Struct):
    event_id: str
    account: str | None
    merchant: str | None
    livemode: bool
    object: msgspec.Raw | msgspec.UnsetType
    previous_attributes: msgspec.Raw | msgspec.UnsetType
    related_object: msgspec.Raw | msgspec.UnsetType


class _Written(msgspec.Struct):
    type: str
    timestamp: datetime
    data: _WrittenData


_read = msgspec.json.Decoder(_Read).decode
_write = msgspec.json.Encoder().encode
_NOTHING = _Read()


def payload(message: Message) -> bytes:
    """The body of a merchant's webhook; the same bytes at every attempt.

    `{"type", "timestamp": when the event happened, "data": {"event_id", "account", "merchant", "livemode", "object",
    "previous_attributes"?}}`, with the provider's object as it was sent. Thin events carry no object; they have the
    reference `related_object` instead. An event of any other shape arrives without either.
    """
    try:
        event = _read(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        event = _NOTHING
    data = event.data or _ReadData()
    thin = data.object is msgspec.UNSET
    return _write(
        _Written(
            message.event_type,
            message.created.astimezone(UTC),
            _WrittenData(
                message.event_id,
                message.account,
                message.merchant,
                message.livemode,
                data.object,
                data.previous_attributes,
                event.related_object if thin else msgspec.UNSET,
            ),
        )
    )
