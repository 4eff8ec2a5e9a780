"""Samplers: which point of a search space is tried next, one file each."""
