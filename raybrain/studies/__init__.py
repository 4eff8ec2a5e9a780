"""Studies: where recordings and what was heard come from. One file each; ``base.py`` says how to add one."""
