"""Timing: clocks, alignment and sentence boundaries. Contains no study."""
