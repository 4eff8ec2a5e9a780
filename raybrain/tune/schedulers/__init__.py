"""Schedulers: which trials of a sweep go on, one file each."""
