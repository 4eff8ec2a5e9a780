"""Tracking: where people look at what was run."""
