"""One readable file holds every threshold; a user's file overrides single ones, and mistakes are told."""

import msgspec
import pytest

from holdfast.health.detectors import SystemSettings
from holdfast.messaging.standing import ConsentSettings
from holdfast.payments.detectors import StormSettings
from holdfast.queue.detectors import BacklogSettings
from holdfast.voice.detectors import TwilioSettings
from holdfast.watch.settings import Sections, WatchError, WatchSettings

ALL: dict[str, type[msgspec.Struct]] = {
    "watch": WatchSettings,
    "stripe-retry-storm": StormSettings,
    "webhook-backlog": BacklogSettings,
    "performance-degradation": SystemSettings,
    "twilio-outage": TwilioSettings,
    "consent-complaint": ConsentSettings,
}


@pytest.mark.parametrize("name", ALL)
def test_the_shipped_file_says_every_default(name):
    shipped = Sections()
    assert shipped.section(name, ALL[name]) == ALL[name]()
    assert set(shipped._shipped) == set(ALL)
    assert set(shipped._shipped[name]) == set(msgspec.structs.asdict(ALL[name]()))


def test_a_file_of_the_users_own_overrides_what_it_names(tmp_path):
    own = tmp_path / "watch.toml"
    own.write_text("[webhook-backlog]\nbulk = 60\n")
    assert Sections(own).section("webhook-backlog", BacklogSettings) == BacklogSettings(bulk=60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[webhook-backlogs]\n", "there is no section 'webhook-backlogs'"),
        ("[webhook-backlog]\nbulks = 60\n", r"\[webhook-backlog\] .*`bulks`"),
        ("[webhook-backlog]\nbulk = 'a lot'\n", r"\[webhook-backlog\] Expected `float`, got `str`"),
        ("webhook-backlog = 3\n", r"write \[webhook-backlog\]"),
        ("[webhook", "watch.toml: "),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, text, said):
    own = tmp_path / "watch.toml"
    own.write_text(text)
    with pytest.raises(WatchError, match=said):
        Sections(own).section("webhook-backlog", BacklogSettings)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(WatchError, match="cannot be read"):
        Sections(tmp_path / "none.toml")
