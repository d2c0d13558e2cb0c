"""Problem details (RFC 9457): what every door answers when it refuses."""

from http import HTTPStatus
from typing import Any

import msgspec

CONTENT_TYPE = b"application/problem+json"


def problem(status: int, detail: str, **more: Any) -> bytes:
    """The body: title and status of HTTP, `detail` for people, `more` members for programs."""
    return msgspec.json.encode(
        {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    )
