"""`/v1/consents`, `/v1/suppressions` and `/v1/contacts/batches`, as far as they only read."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from holdfast.consent import customers, documents, import_store, store
from holdfast.consent.history import Sense
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, Reason, UnknownError
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import e164

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=19, pattern="^[0-9]{1,18}$", description="`next` of the page before.")]
MerchantKey = Annotated[str | None, Query(max_length=63, description="Its key.")]
AnyMerchant = Annotated[str | None, Query(max_length=63, description="Its key; `every`: what is of all of them.")]
Phone = Annotated[str, Query(max_length=40, description="The person's number: +14155550123.")]
MaybePhone = Annotated[str | None, Query(max_length=40, description="The person's number: +14155550123.")]
AsOf = Annotated[AwareDatetime | None, Query(description="What held then; now, unless given.")]
InSense = Annotated[
    Sense, Query(description="As of then: what had `happened` (as is known today), or what was `known` to us.")
]
Number = Annotated[int, Path(ge=1, le=2**62)]


def router(pool: Pool, key: PhoneKey) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["consent"])

    @made.get("/consents")
    async def show_consents(
        phone: Phone, merchant: MerchantKey = None, as_of: AsOf = None, sense: InSense = "happened"
    ) -> dict[str, Any]:
        """What holds of a person's consent for every merchant and purpose, and the rows of the ledger behind it."""
        merchant_id = await merchant_id_of(pool, merchant) if merchant is not None else None
        written = number(phone)
        found = (await customers.find(pool, [written], key)).get(written)
        if found is None:
            raise UnknownError("nothing is known of this number: nobody consented, nobody is blocked")
        return await documents.person(pool, found, merchant_id=merchant_id, as_of=as_of, sense=sense)

    @made.get("/suppressions")
    async def list_suppressions(  # noqa: PLR0917 - filters of the query
        merchant: AnyMerchant = None,
        reason: Reason | None = None,
        lifted: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
        since: Annotated[AwareDatetime | None, Query()] = None,
        phone: MaybePhone = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """Newest first."""
        merchant_id = None if merchant is None else await merchant_id_of(pool, merchant)
        customer_id = None
        if phone is not None:
            written = number(phone)
            known = (await customers.find(pool, [written], key)).get(written)
            customer_id = known.id if known is not None else 0
        found = await store.suppressions(
            pool,
            merchant_id=merchant_id,
            reason=reason,
            live=None if lifted is None else not lifted,
            since=since,
            customer_id=customer_id,
            before=int(cursor) if cursor is not None else None,
            limit=limit + 1,
        )
        shown = found[:limit]
        return {
            "suppressions": await documents.listed(pool, shown),
            "next": str(shown[-1][0].id) if len(found) > limit else None,
        }

    @made.get("/suppressions/{suppression_id}")
    async def show_suppression(suppression_id: Number) -> dict[str, Any]:
        """One of them."""
        found = await documents.one_suppression(pool, suppression_id)
        if found is None:
            raise UnknownError(f"there is no suppression {suppression_id}")
        return found

    @made.get("/contacts/batches")
    async def list_batches(merchant: MerchantKey = None, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
        """Files that were imported, newest first."""
        found = await import_store.batches(
            pool,
            merchant_id=await merchant_id_of(pool, merchant) if merchant is not None else None,
            before=int(cursor) if cursor is not None else None,
            limit=limit + 1,
        )
        shown = found[:limit]
        keys = await documents.keys_of(pool, [one.merchant_id for one in shown])
        return {
            "batches": [documents.batch(one, keys) for one in shown],
            "next": str(shown[-1].id) if len(found) > limit else None,
        }

    return made


async def merchant_id_of(pool: Pool, key: str) -> int:
    """`every` is 0. Raises UnknownError."""
    if key == documents.EVERY:
        return 0
    found = await merchants.find(pool, key)
    if found is None:
        raise UnknownError(f"there is no merchant {key!r}")
    return found.id


def number(text: str) -> str:
    """The number in E.164. Raises ConsentError."""
    try:
        return e164(text.replace(" ", "+", 1) if text.startswith(" ") else text)  # a + that was not escaped
    except MerchantError as error:
        raise ConsentError(str(error)) from None
