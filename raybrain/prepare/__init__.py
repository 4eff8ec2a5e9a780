"""Prepare: from recordings to a store. Ray Data only in run.py, mne only in signal.py."""
