"""Mirror: the trials of a study in memory, beside the database that keeps them.

Optuna reads every trial that is under way again whenever somebody asks for trials, and a sampler, a pruner and the ledger all
do: with 64 at once that costs more than all else a sweep does. But a study has one process that changes it, so what it knows
need not be read back: it is read once, when the study is opened, and from then on only written.
"""

from collections.abc import Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState


class MirroredStorage(InMemoryStorage):  # type: ignore[misc]
    """One study of a database. What is asked is answered from memory; what is changed is written to both, the database first.

    A trial that is drawn goes to the database as a whole, with :meth:`flush`; whatever changes afterwards, at once.

    Args:
        database: where it is kept.
        name: of the study, which is there.
    """

    def __init__(self, database: RDBStorage, name: str) -> None:
        super().__init__()
        self.database = database
        self.there = database.get_study_id_from_name(name)
        self.places: dict[int, int] = {}  # ids of the trials here -> in the database
        self.drawn: list[int] = []  # which the database does not know yet
        here = super().create_new_study(database.get_study_directions(self.there), name)
        for key, value in database.get_study_user_attrs(self.there).items():
            super().set_study_user_attr(here, key, value)
        for key, value in database.get_study_system_attrs(self.there).items():
            super().set_study_system_attr(here, key, value)
        for trial in database.get_all_trials(self.there, deepcopy=False):
            self.places[super().create_new_trial(here, trial)] = trial._trial_id

    def flush(self) -> None:
        """Write the trials that were drawn, with all that is known of them.

        Raises:
            UpdateFinishedTrialError: if another process changes the study, too.
        """
        while self.drawn:
            trial = self.get_trial(self.drawn[0])
            place = self.database.create_new_trial(self.there, trial)
            if self.database.get_trial_number_from_id(place) != trial.number:
                raise UpdateFinishedTrialError(f"there is a trial {trial.number} already")
            self.places[self.drawn.pop(0)] = place

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Draw a trial; one that is known already, as it waits for its turn, is written at once."""
        trial_id: int = super().create_new_trial(study_id, template_trial)
        self.drawn.append(trial_id)
        if template_trial is not None:
            self.flush()
        return trial_id

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: Any) -> None:
        """Note a parameter."""
        if trial_id in self.places:
            self.database.set_trial_param(self.places[trial_id], param_name, param_value_internal, distribution)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Note the score of an epoch."""
        if trial_id in self.places:
            self.database.set_trial_intermediate_value(self.places[trial_id], step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note what we know of a trial."""
        if trial_id in self.places:
            self.database.set_trial_user_attr(self.places[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Note what a sampler or a pruner knows of a trial."""
        if trial_id in self.places:
            self.database.set_trial_system_attr(self.places[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Note that a trial begins, or how it ended; False if another process has begun it."""
        known = trial_id in self.places
        if known and not self.database.set_trial_state_values(self.places[trial_id], state, values):
            return False
        changed: bool = super().set_trial_state_values(trial_id, state, values)
        if not known and state.is_finished():
            self.flush()
        return changed

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Note what we know of the study."""
        self.database.set_study_user_attr(self.there, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Note what a sampler knows of the study."""
        self.database.set_study_system_attr(self.there, key, value)
        super().set_study_system_attr(study_id, key, value)

    def remove_session(self) -> None:
        """Let go of the database."""
        self.database.remove_session()
