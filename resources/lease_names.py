"""How the leases are called under which work is done.

What belongs here: the names. Taking and giving leases back is `ledger`; what a lane's name is made of, `outbox`.
"""

PASS = "pass"  # noqa: S105 - no password
LANES = "send:"
"""What the leases of lanes begin with."""
