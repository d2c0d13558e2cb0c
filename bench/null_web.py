"""`python -m bench.null_web web`: Holdfast's web process with an inbox that stores nothing; what a commit costs."""

import asyncio

from holdfast import web
from holdfast.cli import main
from holdfast.inbox.model import NewEvent
from holdfast.inbox.service import Appended, Inbox


class NullInbox(Inbox):
    def append(self, event: NewEvent) -> asyncio.Future[Appended]:
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        future.set_result(Appended.NEW)
        return future


if __name__ == "__main__":
    vars(web)["Inbox"] = NullInbox
    main()
