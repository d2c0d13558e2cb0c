"""Who agreed to what, and who said stop: the ledger of consents, and the suppressions that stand above it."""
