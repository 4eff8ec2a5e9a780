"""Resume: a training goes on from its last checkpoint, all workers at the same place."""

from typing import Any

from raybrain.train.record import RunRecord
from raybrain.train.step import Learner


def resumed(learner: Learner, record: RunRecord) -> dict[str, Any] | None:
    """Give a learner back what the last checkpoint of a run holds of it. The first worker reads it for all.

    Returns:
        What the checkpoint says of where the training stood; None if there is none.

    Raises:
        Damaged: if it is damaged.
    """
    place = learner.place
    packed = place.first(record.packed_checkpoint() if place.rank == 0 else None)
    if packed is None:
        return None
    saved = record.unpacked_checkpoint(packed, place.device)
    learner.restore(saved)
    state: dict[str, Any] = saved["state"]
    return state
