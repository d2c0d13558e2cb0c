"""The status page as tests look at it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx

from holdfast.comms.status_board import Page, StatusBoard

Visit = Callable[[StatusBoard], AbstractAsyncContextManager[httpx.AsyncClient]]
PUBLIC = "https://status.example"


def shown(board: StatusBoard, path: str = "/status") -> Page:
    """The page as it is in memory."""
    page = board.page(path)
    assert page is not None, path
    return page
