"""Tests of where runs are tracked."""
