"""Losses: what training makes small, one file each."""
