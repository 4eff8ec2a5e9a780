"""Prepare: from recordings to a store. Ray Data only in parallel.py, mne only in signal.py."""
