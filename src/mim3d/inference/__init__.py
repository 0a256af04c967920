"""Task model to label map, or probabilities of classes."""
