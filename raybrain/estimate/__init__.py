"""Estimate: time, disk and memory of trainings, before anything is prepared or trained; the same answer for whoever asks."""
