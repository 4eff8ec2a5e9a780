"""Timing: clocks, alignment and sentences; no study itself."""
