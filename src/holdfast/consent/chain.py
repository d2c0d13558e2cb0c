"""The chain of the ledger: every row's hash covers the row and the hash before it. Pure; the store is not asked.

What is personal is not in the chain but committed to by salted digests: once the person is erased the salt is gone, and
the chain still holds.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

START = bytes(32)
"""The hash before the first row."""
SALT = 16
WHO = 16
"""Bytes of the commitment to a number."""
VERSION = b"holdfast consent 1\n"
FIELDS = (
    "seq", "customer_id", "merchant_id", "action", "purpose", "channel", "source", "given_at", "recorded_at",
    "disclosure", "origin", "collector", "batch_id", "batch_row", "actor", "who", "detail"
)  # fmt: skip
"""What a row's hash covers, in this order. `disclosure` is the digest of the text; bytes are written in hex."""

_encode = msgspec.json.Encoder(order="sorted").encode


def new_salt() -> bytes:
    return secrets.token_bytes(SALT)


def who(salt: bytes, phone: str) -> bytes:
    """The commitment to a customer's number."""
    return hashlib.sha256(salt + phone.encode()).digest()[:WHO]


def disclosure_digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def detail_digest(salt: bytes, said: Mapping[str, Any]) -> bytes:
    """`said` as `msgspec` writes it with its keys in order: it must come back from jsonb as it went in."""
    return hashlib.sha256(salt + _encode(said)).digest()


def link(previous: bytes, fields: Mapping[str, Any]) -> bytes:
    """The hash of a row: `fields` are those of `FIELDS`, times aware and in whole microseconds."""
    written = [
        value if value is None or (kind := type(value)) is str or kind is int else _written(value)
        for value in map(fields.__getitem__, FIELDS)
    ]
    return hashlib.sha256(VERSION + previous + _encode(written)).digest()


def same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat(timespec="microseconds")
    return value.hex() if isinstance(value, bytes) else value
