"""Recording: which stretch of brain data of whom. Identifiers only, so that it travels between processes for nothing."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Recording:
    """One continuous recording of one subject, in BIDS words."""

    study: str
    subject: str
    session: str = ""
    task: str = ""
    run: str = ""

    @property
    def uid(self) -> str:
        """A name that is unique over all studies and fit for a file: ``study_sub-01_ses-1_task-story_run-2``."""
        parts = [self.study, f"sub-{self.subject}"]
        parts += [f"{key}-{value}" for key, value in (("ses", self.session), ("task", self.task), ("run", self.run)) if value]
        return "_".join(parts)


def means_subject(typed: str, study: str, subject: str) -> bool:
    """Whether somebody who types ``01``, ``sub-01`` or ``STUDY/01`` means a subject, among others perhaps."""
    return typed in (subject, f"sub-{subject}", f"{study}/{subject}")


def channel_key(name: str) -> str:
    """What a channel's name says, whatever its case and dots, the word EEG before it and a reference after it.

    >>> [channel_key(name) for name in ("Fz", "EEG FZ-REF", "Fc5.")]
    ['fz', 'fz', 'fc5']
    """
    return re.sub(r"^eeg[ _-]*|[-_ ](ref|le|re|a1|a2|m1|m2|avg)$|\.+$", "", name.strip().lower())
