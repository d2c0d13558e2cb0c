"""Advisory locks: one number per thing that only one process may do at a time."""

from enum import IntEnum


class Lock(IntEnum):
    """Keys of `pg_advisory_lock`; the high word ("HF") keeps them apart from other programs' locks."""

    MIGRATE = 0x4846_0000_0001
    MAINTENANCE = 0x4846_0000_0002
    ROLLUP = 0x4846_0000_0003
    LEVERS = 0x4846_0000_0004
    WATCH = 0x4846_0000_0005
    INCIDENTS = 0x4846_0000_0006
    TEXTS = 0x4846_0000_0007
    """Who watches and audits texts."""
    PARENTS = 0x4846_0000_0008
    """Who looks in the ledger for payments that others are bringing (see `payments.store.miss_parents`)."""
    REPOINT = 0x4846_0000_0010
    """And the number after it, for beginning one."""


CUSTOMER = 0x4847_0000_0000_0000
"""And a customer's id after it: see `consent.customers.lock`."""
