"""Task model to label map."""
