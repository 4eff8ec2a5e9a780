"""What decodes best so far: the data of Défossez et al. 2023, and a network that starts from ridge regression.

At the size of the quickstart, on the synthetic and the semi-real study, the line adds 3 to 25 points of top-1 to SimpleConv
(search_spaces/README.md); at full size it has not been measured.

The features need the model, once: hf download facebook/wav2vec2-large-xlsr-53.
"""

from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.recipes import defossez2023


def experiment() -> Experiment:
    """The published settings; SimpleConv beside a line that it must do without in half of the segments while training."""
    return override(defossez2023.experiment(), {"encoder.ridge.on": True})
