"""The key that the numbers of erased people are hashed with: without it, nobody can read them from the database.

A number is one of some billions, so a plain hash of it would be no secret at all.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import structlog

from holdfast.config import Settings
from holdfast.consent.model import KeyMissingError

log = structlog.get_logger()

FILE = "erasure.key"


class PhoneKey:
    """Hashes numbers. Without a secret it does not, and `of` returns None: nobody was erased yet.

    Where it was to be read from a file that is not there, `look_again` finds what another process made.
    """

    def __init__(self, secret: bytes | None = None, path: Path | None = None) -> None:
        self._secret = secret
        self._path = path

    def look_again(self) -> bool:
        """Whether there is a key now that was not there before. Raises KeyMissingError for a file that is not ours."""
        if self._secret is None and self._path is not None:
            self._secret = _read(self._path)
            return self.is_there
        return False

    @classmethod
    def load(cls, settings: Settings) -> "PhoneKey":
        """The key of the settings, else that of the data directory, else none.

        A file that cannot be read counts as none: `customers.check_key` then refuses what needs it, and nothing else.
        """
        if settings.erasure_key is not None:
            return cls(settings.erasure_key.get_secret_value().encode())
        path = settings.data_dir / FILE
        try:
            return cls(_read(path), path)
        except KeyMissingError as error:
            log.error("erasure_key.unreadable", reason=str(error))
            return cls(None, path)

    @classmethod
    def load_or_make(cls, settings: Settings) -> "PhoneKey":
        """The same, made now where there is none: with a database of one's own it belongs in the settings.

        Raises KeyMissingError.
        """
        found = cls.load(settings)
        if found.is_there:
            return found
        if settings.database_url is not None:
            raise KeyMissingError(
                "set HOLDFAST_ERASURE_KEY, to the same on every machine, before anybody is erased: "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'. Keep it: without it their numbers are "
                "not known again, and not blocked"
            )
        path = settings.data_dir / FILE
        _write(path, secrets.token_urlsafe(32).encode())
        return cls(_read(path))

    @property
    def is_there(self) -> bool:
        return self._secret is not None

    @property
    def fingerprint(self) -> bytes | None:
        """Says whether two keys are the same, and nothing of them."""
        return self.of("holdfast")

    def of(self, phone: str) -> bytes | None:
        """The hash of a number in E.164."""
        return hmac.digest(self._secret, phone.encode(), hashlib.sha256) if self._secret is not None else None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyMissingError(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, secret: bytes) -> None:
    """All of it or nothing, and never over one that is there: two may come to this at once."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    except OSError as error:
        raise KeyMissingError(f"{path} cannot be written: {error.strerror}") from None
