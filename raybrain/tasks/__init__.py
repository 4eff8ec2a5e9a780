"""Tasks: what goes into a network, what it aims at, how that is scored. One file each; ``base.py`` says how to add one."""
