"""The report of a run: one HTML page, from what the run left on disk."""
