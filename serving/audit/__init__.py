"""The audit log: an append-only record of every answer, under a Merkle tree."""
