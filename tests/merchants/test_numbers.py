"""Phone numbers: where they are."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import timezone

from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import e164, region_of, time_zone_of

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


@given(st.sampled_from(CODES), st.integers(10**5, 10**10 - 1))
def test_the_time_zone_of_a_number_is_that_of_the_library_where_it_knows_one_alone(code, rest):
    try:
        phone = e164(f"+{code}{rest}")
    except MerchantError:
        return
    zones = timezone.time_zones_for_geographical_number(phonenumbers.parse(phone))
    certain = len(zones) == 1 and zones[0] != timezone.UNKNOWN_TIMEZONE
    assert time_zone_of(phone) == (zones[0] if certain else None)


@pytest.mark.parametrize(
    ("phone", "region", "zone"),
    [
        ("+14155550100", "US", "America/Los_Angeles"),
        ("+442079460100", "GB", "Europe/London"),
        ("+18005550100", "US", None),
        ("+39061234567", "IT", "Europe/Rome"),
        ("+88213123456", "unknown", None),
    ],
)
def test_a_number_has_a_region_and_a_time_zone_if_there_is_one_alone(phone, region, zone):
    assert (region_of(phone), time_zone_of(phone)) == (region, zone)
