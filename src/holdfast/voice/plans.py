"""Call plans as people write them: files in YAML or JSON, and what must be so."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import checked_region, e164
from holdfast.naming import ZONE_IS, time_zone
from holdfast.voice.hours import checked_hours, in_words, read_opening
from holdfast.voice.model import MOST_TARGETS, Plan, PlanTarget, VoiceError

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
"""https://www.twilio.com/docs/voice/twiml/say lists those that can be spoken."""
SIP = re.compile(r"sips?:[!-~]{1,245}")
LEAST_RINGS, MOST_RINGS = 5, 600
"""Seconds: what <Dial timeout> takes, https://www.twilio.com/docs/voice/twiml/dial."""
LONGEST_GREETING = 1000
SHORTEST_MESSAGE, LONGEST_MESSAGE = 5, 3600
LONGEST_TRANSCRIBED = 120
"""Seconds: https://www.twilio.com/docs/voice/twiml/record."""
LARGEST_FILE = 64 * 1024
_MOST_VALUES = 2000
_UNSPEAKABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot carry, and nobody can say."""


def checked_plan(plan: Plan) -> Plan:
    """The plan, its numbers in E.164. Raises VoiceError: what is wrong, and what to write instead."""
    if not plan.targets:
        raise VoiceError(
            "the plan has no targets: name who is to be rung, a number such as +14155550123 or an address such as "
            "sip:desk@example.com; a number without a plan takes messages"
        )
    if len(plan.targets) > MOST_TARGETS:
        raise VoiceError(f"at most {MOST_TARGETS} targets, not {len(plan.targets)}: a caller does not wait longer")
    targets = tuple(_target(place, target) for place, target in enumerate(plan.targets, 1))
    seen: dict[str, int] = {}
    for place, target in enumerate(targets, 1):
        if seen.setdefault(target.address, place) != place:
            raise VoiceError(
                f"target {place}: {target.address} is target {seen[target.address]} already; nobody is rung twice, "
                "so let it ring longer there"
            )
    checked_hours(plan.hours)
    if plan.time_zone is not None and time_zone(plan.time_zone) is None:
        raise VoiceError(f"{plan.time_zone[:60]!r} is not a time zone: {ZONE_IS}")
    for name in ("greeting", "closed_greeting", "voicemail_greeting"):
        _greeting(name, getattr(plan, name))
    if not LANGUAGE.fullmatch(plan.language):
        raise VoiceError(f"{plan.language[:40]!r} is not a language: write en-US, en-GB, de-DE …")
    _voicemail(plan)
    return msgspec.structs.replace(plan, targets=targets)


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What is said of a plan, and nothing of what else is in it. `rings`: of all targets. `fields`: the others."""

    targets: tuple[str, ...] = ()
    rings: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def of(self, before: Plan | None) -> Plan:
        """The plan as it is then; a target that stays keeps its region and ring time. Raises VoiceError."""
        plan = before if before is not None else Plan()
        known = {target.address: target for target in plan.targets}
        targets = tuple(known.get(one, PlanTarget(one)) for one in self.targets) or plan.targets
        if not targets:
            given = [*(("rings",) if self.rings is not None else ()), *self.fields]
            raise VoiceError(f"has {', '.join(given)} but no targets: name who is to be rung, separated by spaces")
        if self.rings is not None:
            targets = tuple(msgspec.structs.replace(target, rings=self.rings) for target in targets)
        return checked_plan(msgspec.structs.replace(plan, targets=targets, **self.fields))


def checked_change(change: PlanChange) -> PlanChange:
    """The change, its targets in E.164, as far as can be seen without the plan. Raises VoiceError."""
    if not change.targets:
        return change
    return replace(change, targets=tuple(target.address for target in change.of(None).targets))


def _target(place: int, target: PlanTarget) -> PlanTarget:
    address = target.address
    try:
        if not SIP.fullmatch(address):
            if address.lower().startswith("sip"):
                raise VoiceError(f"{address[:60]!r} is not a SIP address: write sip:desk@example.com")
            address = e164(address)
        if target.region is not None:
            checked_region(target.region)
    except (MerchantError, VoiceError) as error:
        raise VoiceError(f"target {place}: {error}") from None
    if not LEAST_RINGS <= target.rings <= MOST_RINGS:
        raise VoiceError(f"target {place} rings from {LEAST_RINGS} to {MOST_RINGS} seconds, not {target.rings}")
    return msgspec.structs.replace(target, address=address)


def _greeting(name: str, text: str | None) -> None:
    if text is None:
        return
    if not text.strip() or len(text) > LONGEST_GREETING:
        raise VoiceError(f"{name}: write 1 to {LONGEST_GREETING} characters to say, not {len(text)}; or leave it out")
    if _UNSPEAKABLE.search(text):
        raise VoiceError(f"{name} has characters that cannot be said: write letters, digits and signs")
    if text.startswith(("http://", "https://")) and (not urlsplit(text).hostname or len(text.split()) > 1):
        raise VoiceError(f"{name}: {text[:60]!r} is not an address to play from: write https://example.com/hello.mp3")


def _voicemail(plan: Plan) -> None:
    seconds = plan.voicemail_seconds
    if not SHORTEST_MESSAGE <= seconds <= LONGEST_MESSAGE:
        raise VoiceError(f"voicemail_seconds is from {SHORTEST_MESSAGE} to {LONGEST_MESSAGE}, not {seconds}")
    if plan.transcribe and seconds > LONGEST_TRANSCRIBED:
        raise VoiceError(
            f"Twilio writes down messages of up to {LONGEST_TRANSCRIBED} seconds: set voicemail_seconds to "
            f"{LONGEST_TRANSCRIBED} or less, not {seconds}, or transcribe to false"
        )


def read_plan(path: Path) -> Plan:
    """The plan in a YAML or JSON file, checked. Raises VoiceError, OSError."""
    with path.open("rb") as file:
        body = file.read(LARGEST_FILE + 1)
    if len(body) > LARGEST_FILE:
        raise VoiceError(f"{path} is larger than {LARGEST_FILE // 1024} KiB: that is no plan")
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(text) if path.suffix == ".json" else _yaml(text)
        return plan_of(document)
    except UnicodeDecodeError as error:
        raise VoiceError(f"{path} is not UTF-8 text: {error.reason}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise VoiceError(f"{path} is not JSON: {error}") from None
    except VoiceError as error:
        raise VoiceError(f"{path}: {error}") from None


def plan_of(document: Any) -> Plan:
    """The plan that a document means, checked. Raises VoiceError.

    A target may be its address alone, hours may be words: `mon-fri 09:00-17:00`.
    """
    if not isinstance(document, dict):
        raise VoiceError(f"a plan has fields such as targets, hours and greeting, each as `name: value`: {_KNOWN}")
    document = dict(document)
    targets, hours = document.get("targets"), document.get("hours")
    if isinstance(targets, list):
        document["targets"] = [{"address": one} if isinstance(one, str) else one for one in targets]
    if isinstance(hours, str):
        hours = hours.split(";")
    if isinstance(hours, list):
        document["hours"] = [_opening(one) for one in hours]
    try:
        return checked_plan(msgspec.convert(document, Plan, strict=False))
    except msgspec.ValidationError as error:
        raise VoiceError(f"{error}; {_KNOWN}") from None


_KNOWN = f"the fields of a plan are {', '.join(Plan.__struct_fields__)}"


def _opening(one: Any) -> Any:
    return msgspec.to_builtins(read_opening(one)) if isinstance(one, str) else one


def document_of(plan: Plan) -> dict[str, Any]:
    """The plan as `plan_of` takes it, without what is at its default."""
    document = {
        name: value
        for name, value in msgspec.to_builtins(plan).items()
        if value != msgspec.to_builtins(getattr(Plan(), name))
    }
    document["targets"] = [_target_document(one) for one in plan.targets]
    if plan.hours:
        document["hours"] = in_words(plan.hours).split("; ")
    return document


def _target_document(target: PlanTarget) -> Any:
    usual = PlanTarget(target.address)
    said = {
        name: getattr(target, name)
        for name in PlanTarget.__struct_fields__
        if name == "address" or getattr(target, name) != getattr(usual, name)
    }
    return said if len(said) > 1 else target.address


def _yaml(text: str) -> Any:
    """YAML with every plain value as the text it is: `+14155550123` is no sum, and `17:00` not a number of minutes."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return _value(node, [_MOST_VALUES]) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise VoiceError(f"line {line}: {error.problem or error}; write `name: value`") from None
    except (yaml.YAMLError, RecursionError):
        raise VoiceError("this is not YAML: write `name: value`, one a line") from None


def _value(node: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise VoiceError("there is too much in it for a plan")
    match node:
        case yaml.MappingNode():
            return {str(_value(key, left)): _value(value, left) for key, value in node.value}
        case yaml.SequenceNode():
            return [_value(one, left) for one in node.value]
    text: str = node.value
    return None if node.style is None and text in ("", "~", "null") else text
