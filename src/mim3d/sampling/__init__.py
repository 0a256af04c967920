"""Store to nested crops and masks."""
