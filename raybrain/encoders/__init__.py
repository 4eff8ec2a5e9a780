"""Brain encoders: networks from brain signal to speech features. One file each; ``base.py`` says how to add one."""
