"""The one queue mechanism: live work in one table, claimed in fair batches under a lease, settled once."""
