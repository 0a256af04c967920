"""Tensors to tensors: the hybrid encoder, the decoder, MiM."""
