"""Report: results for people."""
