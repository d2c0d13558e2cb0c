"""Signatures as the Standard Webhooks library verifies them, and bodies that never change."""

import json
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from holdfast.delivery import signing
from holdfast.delivery.signing import SecretError, new_secret, payload, validate_secret
from tests.delivery.deliveries import PAYMENT, event, message


@given(body=st.text().map(str.encode), webhook_id=st.text("abcXYZ019_-", min_size=1))
def test_the_reference_library_accepts_every_signature_while_secrets_rotate(body, webhook_id):
    current, previous = new_secret(), new_secret()
    headers = signing.headers(webhook_id, int(time.time()), body, (current, previous))
    for secret in (current, previous):
        Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers, json_parse=False)


def test_the_current_secret_signs_first():
    current, previous = new_secret(), new_secret()
    both = signing.headers("msg_1", 1_700_000_000, b"{}", (current, previous))["webhook-signature"]
    assert both.split(" ")[0] == signing.headers("msg_1", 1_700_000_000, b"{}", (current,))["webhook-signature"]


def test_without_a_secret_there_is_no_signature():
    assert signing.headers("msg_1", 5, b"{}", ()) == {"webhook-id": "msg_1", "webhook-timestamp": "5"}


def test_unpadded_secrets_work():
    secret = new_secret().rstrip("=")
    Webhook(secret).verify(b"{}", signing.headers("m", int(time.time()), b"{}", (secret,)))


def test_new_secrets_are_valid_and_differ():
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        validate_secret(secret)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "!" * 40, "sk_live_" + "A" * 40, "whsec_é"]
)
def test_unusable_secrets_are_refused_without_being_shown(secret):
    with pytest.raises(SecretError) as refused:
        validate_secret(secret)
    assert secret.removeprefix("whsec_") == "" or secret not in str(refused.value)


def test_a_payload_says_what_happened_to_whom():
    body = json.loads(payload(message()))
    assert body == {
        "type": "payment_intent.succeeded",
        "timestamp": "2026-03-04T05:06:07Z",
        "data": {
            "event_id": "evt_1",
            "account": "acct_1",
            "merchant": "bakery",
            "livemode": True,
            "object": PAYMENT,
        },
    }


def test_the_object_is_the_providers_text_untouched():
    about = '{ "amount":1e2,  "big":12345678901234567890123, "a":1, "a":2 , "t":"\\u00e9\\/" }'
    body = payload(message(body=f'{{"type":"x","data":{{"object":{about}}}}}'.encode()))
    assert about.encode() in body


def test_previous_attributes_are_handed_on():
    data = {"object": PAYMENT, "previous_attributes": {"status": "processing"}}
    body = json.loads(payload(message(body=event("x", {}, data=data))))
    assert body["data"]["previous_attributes"] == {"status": "processing"}


def test_a_thin_event_carries_its_reference():
    related = {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_1"}
    thin = json.dumps({"object": "v2.core.event", "data": None, "related_object": related}).encode()
    data = json.loads(payload(message("v1.payment_intent.succeeded", thin)))["data"]
    assert data["related_object"] == related
    assert "object" not in data


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"data": 3}', b'{"data": {"object": ', b'{"data": "\xff"}'])
def test_an_event_of_another_shape_still_makes_a_payload(body):
    data = json.loads(payload(message(body=body)))["data"]
    assert data["event_id"] == "evt_1"
    assert "object" not in data


def test_the_same_bytes_at_every_attempt_and_in_every_time_zone():
    first = message()
    elsewhere = first.created.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert isinstance(elsewhere, datetime)
    assert payload(first) == payload(message(attempt=9, created=elsewhere))
