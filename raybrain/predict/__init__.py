"""Predict: use what was trained, on any machine, without the data it was trained on.

``model.py`` gives a model back; ``guess.py`` ranks what may have been heard in a recording that it has not seen
(``new_recording.py``: other sensors and rates; ``new_subject.py``: somebody new; ``stretches.py``: what may have been heard);
``export.py`` writes it for use elsewhere.
"""
