"""Choosing: some of a study's recordings, by subject or by number. Not a study itself."""

from collections.abc import Sequence
from pathlib import Path

from raybrain.config import InputError, hint
from raybrain.recording import Recording


def choose(recordings: Sequence[Recording], subjects: Sequence[str], most: int | None, root: Path) -> list[Recording]:
    """Those of ``subjects`` (of all, if none is named), sorted; no more than the first ``most``.

    Raises:
        InputError: there is none of some subject.
    """
    known = {recording.subject for recording in recordings}
    for subject in subjects:
        if subject not in known:
            raise InputError(f"no subject {subject!r} in {root}{hint(subject, known)}")
    return sorted(recording for recording in recordings if not subjects or recording.subject in subjects)[:most]
