"""Tune: sweeps, a loop around train. Ray Tune only in run.py."""
