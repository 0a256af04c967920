"""Pre-trained weights to task models."""
