"""Signatures, with the Stripe SDK's own verifier as the oracle."""

import time

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from holdfast.drills.stripe_webhooks import sign
from holdfast.gateway.signature import SignatureError, StripeVerifier

OLD, NEW, OTHER = "whsec_old", "whsec_new", "whsec_other"
BODY = b'{"id": "evt_1"}'


def accepts(body: bytes, header: bytes | None, *secrets: str, now: float | None = None) -> bool:
    verifier = StripeVerifier([secret.encode() for secret in secrets])
    try:
        verifier.verify(body, header, now or time.time())
    except SignatureError:
        return False
    return True


def oracle(body: bytes, header: str, *secrets: str) -> bool:
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, tolerance=300)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        return True
    return False


def test_any_of_our_secrets_and_any_of_the_signatures_is_enough():
    now = int(time.time())
    rolling = f"{sign(BODY, OTHER, now)},v1={sign(BODY, OLD, now).partition('v1=')[2]}"
    assert accepts(BODY, rolling.encode(), OLD, NEW)
    assert accepts(BODY, sign(BODY, NEW, now).encode(), OLD, NEW)
    assert not accepts(BODY, sign(BODY, OTHER, now).encode(), OLD, NEW)


def test_the_raw_bytes_are_what_is_signed():
    header = sign(BODY, OLD, int(time.time())).encode()
    assert not accepts(b'{"id":"evt_1"}', header, OLD)


@pytest.mark.parametrize(("age", "accepted"), [(0, True), (299, True), (301, False), (-60, True)])
def test_a_signature_may_be_five_minutes_old(age, accepted):
    now = time.time()
    header = sign(BODY, OLD, int(now) - age)
    assert accepts(BODY, header.encode(), OLD, now=now) is accepted
    assert oracle(BODY, header, OLD) is accepted


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"v1=abc",
        b"t=1764000000",
        b"t=,v1=abc",
        b"t=now,v1=abc",
        b"t=1764000000,v0=abc",
        b"t=-5,v1=abc",
        b"t=99999999999999999999,v1=abc",
        b"\xff\xfe",
        b"t=1," + b"v1=a," * 2000,
    ],
)
def test_a_header_without_stamp_or_signature_proves_nothing(header):
    assert not accepts(BODY, header, OLD)


def test_without_secrets_nothing_is_accepted():
    assert not accepts(BODY, sign(BODY, OLD, int(time.time())).encode())


def test_the_message_says_why_and_never_a_secret():
    verifier = StripeVerifier([OLD.encode()])
    with pytest.raises(SignatureError) as refused:
        verifier.verify(BODY, sign(BODY, OTHER, int(time.time())).encode(), time.time())
    assert "HOLDFAST_STRIPE_WEBHOOK_SECRETS" in str(refused.value)
    assert OLD not in str(refused.value)


mutations = st.sampled_from(
    [
        lambda header: header,
        lambda header: header.replace("v1=", "v0="),
        lambda header: header.replace("t=", "x="),
        lambda header: header + ",v1=00",
        lambda header: "v1=00," + header,
        lambda header: header.replace(",", ", "),
        lambda header: header[:-1],
        lambda header: header.upper(),
        lambda header: header + "=",
        lambda header: ",".join(reversed(header.split(","))),
    ]
)


@given(
    body=st.text(max_size=200).map(str.encode),
    signer=st.sampled_from([OLD, NEW, OTHER]),
    age=st.integers(-400, 400),
    mutate=mutations,
    ours=st.lists(st.sampled_from([OLD, NEW]), min_size=1, max_size=2),
)
def test_we_agree_with_the_sdk(body, signer, age, mutate, ours):
    if 297 <= age <= 303:
        return  # the clock may move on between the two
    header = mutate(sign(body, signer, int(time.time()) - age))
    assert accepts(body, header.encode(), *ours) == oracle(body, header, *ours)
