"""Evaluate: how well a trained encoder finds what was heard, beside chance."""
