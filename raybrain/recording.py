"""Recording: which stretch of brain data of whom. Identifiers only, so that it travels between processes for nothing."""

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
