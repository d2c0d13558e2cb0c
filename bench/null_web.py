"""`python -m bench.null_web web`: Holdfast's web process with an inbox that stores nothing; what a commit costs."""

from holdfast import web
from holdfast.cli import main
from holdfast.inbox.model import NewEvent
from holdfast.inbox.service import Appended, Inbox, Told


class NullInbox(Inbox):
    def put(self, event: NewEvent, told: Told) -> None:
        told(Appended.NEW)


if __name__ == "__main__":
    vars(web)["Inbox"] = NullInbox
    main()
