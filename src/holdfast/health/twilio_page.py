"""Twilio's status page: its overall word, and the components that our numbers depend on.

The page lists products, and under some of them countries and carriers, in words for people. So a component counts when
it names a product that we use and either one of our numbers' countries or no country at all. What cannot be told apart
this way is unknown, never well. Source of the form: https://status.twilio.com/api
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from holdfast.health.model import Status, worst

_PRODUCTS: Final = re.compile(
    r"\b(voice|calls?|call recordings?|pstn|twiml|sip|trunking|sms|mms|messaging|rest api|phone numbers?)\b"
)
_STATUSES: Final[Mapping[str, Status]] = {
    "operational": "pass",
    "under_maintenance": "warn",
    "degraded_performance": "warn",
    "partial_outage": "warn",
    "major_outage": "fail",
}
_INDICATORS: Final[Mapping[str, Status]] = {"none": "pass", "minor": "warn", "major": "fail", "critical": "fail"}
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "GB": ("united kingdom", "uk", "great britain"),
    "US": ("united states", "usa"),
    "KR": ("south korea", "korea"),
    "CZ": ("czechia", "czech republic"),
    "AE": ("united arab emirates", "uae"),
}


@dataclass(frozen=True, slots=True)
class Component:
    """A component that our numbers depend on. `name` is that of its group too."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says. `indicator`: none, minor, major, critical. `incidents`: names of the open ones."""

    indicator: str
    overall: Status
    depends: tuple[Component, ...]
    incidents: tuple[str, ...]

    @property
    def status(self) -> Status:
        """Of the components that our numbers depend on; one whose word is not known counts as unknown."""
        return worst([_STATUSES.get(component.status, "unknown") for component in self.depends])

    @property
    def ill(self) -> tuple[Component, ...]:
        return tuple(component for component in self.depends if component.status != "operational")


def read(body: bytes, countries: Collection[str]) -> Page:
    """A Statuspage summary, for numbers in these countries (ISO codes). ValueError when it is none."""
    try:
        page = msgspec.json.decode(body)
        indicator = page["status"]["indicator"]
        rows: list[dict[str, Any]] = page.get("components") or []
        groups = {str(row["id"]): str(row["name"]) for row in rows if row.get("group")}
        parts = [_component(row, groups) for row in rows if not row.get("group")]
        incidents = tuple(str(one["name"]) for one in page.get("incidents") or [] if one.get("status") != "resolved")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a status page: {type(error).__name__}") from None
    if indicator not in _INDICATORS:
        raise ValueError(f"unknown indicator {str(indicator)[:40]}")
    depends = tuple(part for part in parts if _concerns(part.name, countries))
    return Page(str(indicator), _INDICATORS[indicator], depends, incidents[:10])


def _component(row: Mapping[str, Any], groups: Mapping[str, str]) -> Component:
    group = groups.get(str(row.get("group_id")))
    name = str(row["name"])
    return Component(f"{group}: {name}" if group is not None else name, str(row["status"]))


def _concerns(name: str, countries: Collection[str]) -> bool:
    if not _PRODUCTS.search(name.lower()):
        return False
    named = countries_in(name)
    return not named or any(country in named for country in countries)


def countries_in(text: str) -> set[str]:
    """ISO codes of the countries that a text names."""
    words = " ".join(re.findall(r"[^\W\d_]+", text.lower()))
    found = {code for name, code in _names() if f" {name} " in f" {words} "}
    # "Guinea" is in "Papua New Guinea", "Ireland" in "Northern Ireland": the longest name counts.
    longest = {code: max((name for name, of in _names() if of == code and name in words), key=len) for code in found}
    named = {
        code for code, name in longest.items() if not any(name != other and name in other for other in longest.values())
    }
    return named | {"US"} if re.search(r"\bUS\b", text) else named


@cache
def _names() -> tuple[tuple[str, str], ...]:
    """(name in small letters, ISO code). Source: iso3166.tab of the IANA time zone database."""
    found: list[tuple[str, str]] = []
    for line in files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            code, name = line.split("\t")
            plain = " ".join(re.findall(r"[^\W\d_]+", name.partition("(")[0].lower()))
            found += [(said, code) for said in {plain, *_ALSO.get(code, ())}]
    return tuple(found)


def countries_of(regions: Iterable[tuple[str, str]]) -> set[str]:
    """The countries of numbers, from (region, a number in it): of `US-CA` or `US` it is US, else the number's own."""
    from holdfast.merchants.numbers import region_of  # its library costs memory that only some need

    codes = {code for _, code in _names()}
    return {
        head if (head := region.partition("-")[0]) in codes else region_of(phone) for region, phone in regions if phone
    }
