"""Features of speech. One file each; ``base.py`` says how to add one."""
