"""Signatures of Twilio's webhooks, checked on what came: the address as called, and the form or the body's digest.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-security and, for shared keys and the two ways of writing
the port, `twilio.request_validator.RequestValidator`, with which this agrees.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from urllib.parse import parse_qs, urlsplit

from holdfast.twilio.model import Account

Fields = Sequence[tuple[str, str]]
BODY_DIGEST = "bodySHA256"
_LONGEST_HEADER = 1024
_DIGESTS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


class SignatureError(Exception):
    """The signature does not prove that Twilio sent this; the message says why, never a token or a signature."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed: the address as it was called, and the form's fields, or of another body the bytes.

    `target` is path and query, undecoded. Exactly one of `fields` and `body` is used: a body, if there is one.
    """

    target: str
    fields: Fields = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers say: the signature, and by which key and algorithm it was made."""

    signature: bytes
    key: str | None = None
    algorithm: str = field(default="HMAC_SHA1")


def claim(signature: bytes | None, settings: bytes | None) -> Claim:
    """Read X-Twilio-Signature and X-Twilio-Webhooks-Signature-Settings. Raises SignatureError."""
    if not signature:
        raise SignatureError("the header X-Twilio-Signature is missing")
    if len(signature) > _LONGEST_HEADER or len(settings or b"") > _LONGEST_HEADER:
        raise SignatureError("the headers of the signature are too long")
    said: dict[str, str] = {}
    for part in (settings or b"").decode("latin-1").split(","):
        name, _, value = part.partition("=")
        if value.strip():
            said.setdefault(name.strip(), value.strip())
    algorithm = said.get("algorithm", "HMAC_SHA1").upper()
    if algorithm not in _DIGESTS:
        raise SignatureError("the signature is of an unknown algorithm; HMAC_SHA1 and HMAC_SHA256 are known")
    return Claim(signature, said.get("key"), algorithm)


class Verifier:
    """Checks signatures on requests to any of our public addresses."""

    def __init__(self, bases: Sequence[str]) -> None:
        """`bases`: the public URL that Twilio calls now, and former ones that numbers may still point at."""
        self._bases = list(dict.fromkeys(written for base in bases for written in _with_and_without_port(base)))

    def verify(self, claimed: Claim, signed: Signed, accounts: Iterable[Account]) -> Account:
        """The account whose token or shared key made the signature. Raises SignatureError if none of these did."""
        asked = list(accounts)
        if signed.body is not None:
            _check_digest(signed)
        contents = [(base + signed.target + _joined(signed)).encode() for base in self._bases]
        found: Account | None = None
        for account in asked:
            for secret, content in product(_secrets(account, claimed), contents):
                made = base64.b64encode(hmac.digest(secret.encode(), content, _DIGESTS[claimed.algorithm]))
                if hmac.compare_digest(made, claimed.signature):
                    found = account
        if found is None:
            raise SignatureError(_why(claimed, asked))
        return found


def _secrets(account: Account, claimed: Claim) -> list[str]:
    """The tokens sign with SHA1 only, the shared keys with SHA256: neither stands in for the other."""
    if claimed.algorithm == "HMAC_SHA1":
        return [token for token in (account.auth_token, *account.former_tokens) if token]
    secret = account.signing.get(claimed.key) if claimed.key else None
    return [secret] if secret is not None else []


def _why(claimed: Claim, asked: Sequence[Account]) -> str:
    if not asked:
        return "its account is none of ours: set HOLDFAST_TWILIO_ACCOUNT_SID, or add the subaccount"
    if claimed.algorithm != "HMAC_SHA1" and all(claimed.key not in account.signing for account in asked):
        return "it is signed with a key that is none of ours: add it to HOLDFAST_TWILIO_SIGNING_KEYS, or to the account"
    return (
        "the signature does not fit: is HOLDFAST_PUBLIC_URL the address that Twilio calls, and the account's token the "
        "present one? While it is rotated, both must be known: docs/settings.md"
    )


def _check_digest(signed: Signed) -> None:
    """A body that is no form is signed through its digest in the query alone: without one it is not covered."""
    given = parse_qs(urlsplit(signed.target).query).get(BODY_DIGEST)
    if not given:
        raise SignatureError(f"the body is not a form and the address has no {BODY_DIGEST}: nothing signs it")
    assert signed.body is not None
    if not hmac.compare_digest(sha256(signed.body).hexdigest().encode(), given[0].encode()):
        raise SignatureError(f"the body is not the one that {BODY_DIGEST} was made from")


def _joined(signed: Signed) -> str:
    """Names in order, each with its values in order, repeated ones once."""
    if signed.body is not None or not signed.fields:
        return ""
    return "".join(name + value for name, value in sorted(set(signed.fields)))


def _with_and_without_port(base: str) -> tuple[str, str]:
    parts = urlsplit(base.rstrip("/"))
    bare = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with_port = parts._replace(netloc=f"{bare}:{port}").geturl()
    return parts._replace(netloc=bare).geturl(), with_port


def key_pairs(pairs: Iterable[str]) -> Mapping[str, str]:
    """`KEY_ID=SECRET`, as the setting has them."""
    split = (pair.partition("=") for pair in pairs)
    return {key.strip(): secret.strip() for key, _, secret in split}
