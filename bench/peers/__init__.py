from typing import Any


def usual_handlers(*, quick: bool) -> dict[str, Any]:
    return {}


def queue_alone(*, quick: bool) -> dict[str, Any]:
    return {}
