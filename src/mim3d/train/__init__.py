"""The one loop and what it needs; it knows no data and no model."""
