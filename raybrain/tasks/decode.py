"""Decode: from the brain to what was heard, as in Défossez et al. 2023."""

from typing import ClassVar

from torch import Tensor

from raybrain.batch import Batch, Shapes
from raybrain.tasks.base import BRAIN_CONTROLS, Data, Task
from raybrain.tasks.candidates import Pool, WordSegments, pools


class Decode(Task, name="decode"):
    """The brain goes in, the features of speech are aimed at. All subjects of a study share the candidates."""

    controls: ClassVar[tuple[str, ...]] = BRAIN_CONTROLS

    def shapes(self, data: Shapes) -> Shapes:
        """Those of the data."""
        return data

    def given(self, data: Data, rows: Tensor, draws: Tensor) -> Batch:
        """The brain."""
        return data.brain(rows, draws)

    def aimed(self, data: Data, rows: Tensor) -> Tensor:
        """The features of speech."""
        return data.speech(rows)

    def pools(self, segments: WordSegments) -> list[Pool]:
        """One for each study, with all that its subjects heard (Défossez et al. 2023, Methods, "Evaluation")."""
        return pools(segments, segments.studies)
