"""Signatures agree with those of Twilio's SDK, which is asked for each."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from holdfast.twilio.model import Account
from holdfast.twilio.signature import Claim, SignatureError, Signed, Verifier, claim

BASE = "https://calls.example.com"
TARGET = "/hooks/twilio/voice"
MAIN = Account("AC" + "1" * 32, "main", 0, "token-1", {"key-1": "shared-1"})
OTHER = Account("AC" + "2" * 32, "other", 1, "token-2")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
forms = st.lists(st.tuples(texts, texts), max_size=8)
bases = st.sampled_from([BASE, f"{BASE}:443", f"{BASE}:8443", "http://calls.example.com", "http://[::1]:8080"])
targets = st.sampled_from([TARGET, f"{TARGET}?tried=%2B1&x=y", f"{TARGET}?a=%C3%A4&a=b", f"{TARGET}/dial"])


class Multi(dict[str, list[str]]):
    """Repeated fields, as Flask and Django give them to the validator."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def multi(fields: Sequence[tuple[str, str]]) -> Multi:
    found = Multi()
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


def accepts(verifier: Verifier, claimed: Claim, signed: Signed, *accounts: Account) -> bool:
    try:
        verifier.verify(claimed, signed, accounts or (MAIN,))
    except SignatureError:
        return False
    return True


@given(bases, targets, forms)
def test_what_the_sdk_signs_is_verified(base, target, fields):
    made = RequestValidator(MAIN.auth_token).compute_signature(base + target, multi(fields))
    assert accepts(Verifier([base]), Claim(made.encode()), Signed(target, fields))


@given(st.sampled_from([BASE, f"{BASE}:8443", "http://calls.example.com"]), targets, forms, forms, bases, targets)
def test_what_the_sdk_refuses_is_refused(base, target, fields, sent, signed_base, signed_target):
    made = RequestValidator(MAIN.auth_token).compute_signature(signed_base + signed_target, multi(sent))
    agreed = RequestValidator(MAIN.auth_token).validate(base + target, multi(fields), made)
    assert accepts(Verifier([base]), Claim(made.encode()), Signed(target, fields)) == agreed


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_body_is_verified_by_its_digest_in_the_query(body, sent):
    target = f"{TARGET}?bodySHA256={hashlib.sha256(sent).hexdigest()}"
    made = RequestValidator(MAIN.auth_token).compute_signature(BASE + target, {}).encode()
    assert accepts(Verifier([BASE]), Claim(made), Signed(target, body=body)) == (body == sent)


def test_a_body_that_nothing_signs_is_refused():
    made = RequestValidator(MAIN.auth_token).compute_signature(BASE + TARGET, {}).encode()
    with pytest.raises(SignatureError, match="bodySHA256"):
        Verifier([BASE]).verify(Claim(made), Signed(TARGET, body=b"{}"), [MAIN])


def test_a_shared_key_signs_with_sha256():
    fields = [("CallSid", "CA1")]
    made = RequestValidator("shared-1").compute_signature(BASE + TARGET, dict(fields), "HMAC_SHA256").encode()
    claimed = claim(made, b"key=key-1,algorithm=HMAC_SHA256")
    assert Verifier([BASE]).verify(claimed, Signed(TARGET, fields), [OTHER, MAIN]) is MAIN
    with pytest.raises(SignatureError, match="none of ours"):
        Verifier([BASE]).verify(claim(made, b"key=key-2, algorithm=HMAC_SHA256"), Signed(TARGET, fields), [MAIN])


@pytest.mark.parametrize(
    ("secret", "algorithm", "settings"),
    [
        ("shared-1", "HMAC_SHA1", b"key=key-1,algorithm=HMAC_SHA1"),
        ("token-1", "HMAC_SHA256", b"key=key-1,algorithm=HMAC_SHA256"),
        ("token-1", "HMAC_SHA256", b"algorithm=HMAC_SHA256"),
        ("token-2", "HMAC_SHA1", b""),
    ],
)
def test_token_and_shared_key_do_not_stand_in_for_each_other(secret, algorithm, settings):
    made = RequestValidator(secret).compute_signature(BASE + TARGET, {}, algorithm).encode()
    assert not accepts(Verifier([BASE]), claim(made, settings), Signed(TARGET))


@pytest.mark.parametrize("token", ["token-1", "token-0", "token-00"])
@given(bases, targets, forms)
def test_a_token_that_is_rotated_is_verified_beside_the_present_one(token, base, target, fields):
    rotating = replace(MAIN, former_tokens=("token-00", "token-0"))
    made = RequestValidator(token).compute_signature(base + target, multi(fields)).encode()
    assert Verifier([base]).verify(Claim(made), Signed(target, fields), [OTHER, rotating]) is rotating
    assert accepts(Verifier([base]), Claim(made), Signed(target, fields)) == (token == MAIN.auth_token)


def test_a_former_token_signs_with_sha1_alone_and_an_empty_one_nothing():
    rotating = replace(MAIN, former_tokens=("token-0", ""))
    for token, algorithm in (("token-0", "HMAC_SHA256"), ("", "HMAC_SHA1")):
        made = RequestValidator(token).compute_signature(BASE + TARGET, {}, algorithm).encode()
        claimed = claim(made, f"key=key-1,algorithm={algorithm}".encode())
        assert not accepts(Verifier([BASE]), claimed, Signed(TARGET), rotating)
    assert "token-0" not in repr(rotating)


def test_an_account_without_a_token_signs_nothing_by_token():
    keyed = Account(MAIN.sid, "main", 0, "", {"key-1": "shared-1"})
    made = RequestValidator("").compute_signature(BASE + TARGET, {}).encode()
    assert not accepts(Verifier([BASE]), Claim(made), Signed(TARGET), keyed)


@pytest.mark.parametrize(
    ("signature", "settings", "named"),
    [
        (None, None, "X-Twilio-Signature is missing"),
        (b"", b"", "X-Twilio-Signature is missing"),
        (b"x" * 2000, b"", "too long"),
        (b"x", b"algorithm=HMAC_MD5", "unknown algorithm"),
    ],
)
def test_headers_that_cannot_be_used_say_why(signature, settings, named):
    with pytest.raises(SignatureError, match=named):
        claim(signature, settings)


def test_a_former_address_counts_and_another_does_not():
    verifier = Verifier([BASE, "https://old.example.com/"])
    for base, fits in (("https://old.example.com", True), ("https://new.example.com", False)):
        made = RequestValidator(MAIN.auth_token).compute_signature(base + TARGET, {}).encode()
        assert accepts(verifier, Claim(made), Signed(TARGET)) == fits
