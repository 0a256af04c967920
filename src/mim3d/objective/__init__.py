"""Model outputs to loss chunks."""
