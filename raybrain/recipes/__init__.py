"""Recipes: functions that return an Experiment. One file each, named as on the command line; found by being there."""
