"""Predict: use what was trained, on any machine, without the data it was trained on."""
