"""Runbooks, steps and actions in words, and as JSON."""

import json
from collections import Counter
from datetime import timedelta
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from holdfast import durations
from holdfast.runbooks.actions import Action
from holdfast.runbooks.model import Runbook, Step


def parameters(action: Action) -> dict[str, str]:
    """What it takes, in words: `number, 100 if left out`."""
    return {name: _takes(one) for name, one in action.takes.model_fields.items()}


def _takes(field: FieldInfo) -> str:
    what = type_name(field.annotation)
    if field.is_required():
        return f"{what}, needed"
    return what if field.default is None else f"{what}, {written(field.default)} if left out"


def type_name(annotation: Any) -> str:
    """A type in the words of people who write runbooks."""
    if get_origin(annotation) is Literal:
        return " or ".join(str(one) for one in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(type_name(one) for one in get_args(annotation) if one is not type(None))
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", timedelta: "time such as 30m"}
    origin = get_origin(annotation) or annotation
    containers = {list: "list", tuple: "list", set: "list", frozenset: "list", dict: "mapping"}
    return names.get(annotation) or containers.get(origin) or str(getattr(origin, "__name__", annotation))


def written(value: object) -> str:
    """A parameter as somebody would write it."""
    if isinstance(value, timedelta):
        return durations.write(value)
    if isinstance(value, str):
        return value if value and " " not in value else f"'{value}'"
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """For JSON; lengths of time in seconds."""
    return to_jsonable_python(value, timedelta_mode="float", fallback=str)


def call(step: Step) -> str:
    """The action with its parameters."""
    return " ".join((step.action or "", *(f"{name}={written(value)}" for name, value in step.parameters.items())))


def kinds(runbook: Runbook) -> str:
    """How many steps there are of each kind: `2 do, 1 ask`."""
    counted = Counter(step.kind for step in runbook.steps)
    return ", ".join(f"{number} {kind}" for kind, number in counted.items())


def whose(runbook: Runbook) -> str:
    return "shipped" if runbook.shipped else "yours"


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
