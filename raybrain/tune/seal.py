"""Seal: a checksum that a trial carries in the database once it is over, since a database has none of its own."""

from collections.abc import Sequence
from typing import Any

from raybrain.storage import content_digest

SEAL = "checksum"  # the attribute of a trial


def end_trial(study: Any, trial: Any, state: str, values: Sequence[float] | None = None) -> None:
    """Tell an Optuna study how a trial ended, with a checksum of all that is known of it.

    Args:
        study: the study.
        trial: of the study, under way.
        state: the name of an Optuna state.
        values: of the objectives, of a trial that is complete.
    """
    from optuna.trial import TrialState

    frozen = study.get_trials(deepcopy=False)[trial.number]
    trial.set_user_attr(SEAL, _digest(frozen, state, values))
    study.tell(trial, values, state=TrialState[state])


def check_seals(study: Any) -> None:
    """Refuse a study with a trial that is not as it was kept; those of an earlier version carry no checksum.

    Raises:
        ValueError: naming the first.
    """
    for frozen in study.get_trials(deepcopy=False):
        known = frozen.user_attrs.get(SEAL)
        state = frozen.state.name
        if known and frozen.state.is_finished() and known != _digest(frozen, state, frozen.values):
            raise ValueError(f"trial {frozen.number} is not as it was kept")


def _digest(frozen: Any, state: str, values: Sequence[float] | None) -> str:
    attributes = {key: value for key, value in frozen.user_attrs.items() if key != SEAL}
    known = [sorted(frozen.params.items()), sorted(frozen.intermediate_values.items()), sorted(attributes.items())]
    kept = list(values or []) if state == "COMPLETE" else []  # Optuna gives one that was stopped its last report as value
    return content_digest([state, kept, *known])
