"""The token of the API: who has it may do everything that `/v1` does, and see what is for operators."""

import hashlib
import hmac
from collections.abc import Mapping

from holdfast.config import Settings

CHALLENGE = ("www-authenticate", 'Bearer realm="holdfast"')


class ClosedError(Exception):
    """The caller may not come in; the message says what to send."""


class Bearer:
    """The token of the settings, as its hash."""

    def __init__(self, settings: Settings) -> None:
        token = settings.api_token
        self._digest = hashlib.sha256(token.get_secret_value().encode()).digest() if token is not None else None

    @property
    def is_set(self) -> bool:
        return self._digest is not None

    def admit(self, headers: Mapping[str, str]) -> None:
        """Raises ClosedError."""
        if self._digest is None:
            raise ClosedError("this is closed: set HOLDFAST_API_TOKEN, and send it as a bearer token")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
        if not hmac.compare_digest(digest, self._digest) or scheme.lower() != "bearer":
            raise ClosedError("send the value of HOLDFAST_API_TOKEN: Authorization: Bearer …")
