"""Settings that cannot work are refused, with what to write instead."""

import pytest

from holdfast.config import Settings, SettingsError, load

CALLS = "https://calls.example.com"


def settings(monkeypatch, tmp_path, **given: str) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(f"HOLDFAST_{name.upper()}", value)
    return load()


@pytest.mark.parametrize("rest", ["/holdfast", "/holdfast/", "//", "?", "?key=1", "#rc=2", "/#rc=2"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("public_url", f"{CALLS}{{}}"), ("former_public_urls", f"https://old.example.com,{CALLS}{{}}")],
)
def test_a_public_url_has_nothing_behind_its_host_since_calls_are_led_on_from_there(
    monkeypatch, tmp_path, name, value, rest
):
    with pytest.raises(SettingsError) as refused:
        settings(monkeypatch, tmp_path, **{name: value.format(rest)})
    (line,) = refused.value.mistakes
    assert line.startswith(f"HOLDFAST_{name.upper()}: '{CALLS}{rest}' has more than a host and a port:")
    assert line.endswith(f"write {CALLS}")


def test_a_public_url_may_have_a_port_and_a_last_slash(monkeypatch, tmp_path):
    made = settings(
        monkeypatch, tmp_path, public_url=f"{CALLS}:8443/", former_public_urls=f"http://[::1]:8080, {CALLS}/"
    )
    assert made.public == f"{CALLS}:8443"
    assert made.former_public_urls == ("http://[::1]:8080", CALLS)


@pytest.mark.parametrize("address", ["calls.example.com", "ftp://calls.example.com", "https://", "https://["])
def test_a_public_url_is_an_http_address(monkeypatch, tmp_path, address):
    with pytest.raises(SettingsError, match=r"^HOLDFAST_PUBLIC_URL: "):
        settings(monkeypatch, tmp_path, public_url=address)


def test_events_are_kept_for_longer_than_stripe_sends_them_again(monkeypatch, tmp_path):
    with pytest.raises(SettingsError, match=r"^HOLDFAST_RETENTION_DAYS: .*4"):
        settings(monkeypatch, tmp_path, retention_days="3")
    assert settings(monkeypatch, tmp_path, retention_days="4").retention_days == 4
