"""A run to pictures, tables and one HTML page."""
