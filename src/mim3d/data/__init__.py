"""Raw scans to a store, and back out of it."""
