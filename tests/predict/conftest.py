"""Shared by the tests of trained models: a synthetic study on disk, and models of it that nobody has trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.batch import FeatureSlice, Layout, Shapes
from raybrain.config import override
from raybrain.experiment import recipe
from raybrain.features.scale import FeatureScale
from raybrain.identity import contents, version
from raybrain.model_folder import ModelCard, write_model
from raybrain.network import Network, Parts
from raybrain.plain import tree
from raybrain.probabilities import Calibration
from raybrain.signal.channels import sensor_places, sensor_positions
from raybrain.studies.synthetic import Synthetic
from tests.conftest import TINY

STUDY = Synthetic(device="eeg", subjects=3, minutes=1, channels=16, rate_hz=125.0, signal=3.0)
BARE = [setting for setting in TINY if not setting.startswith("encoder.")]
KNOWN = ("synthetic-eeg/01", "synthetic-eeg/02")


@dataclass(frozen=True)
class Heard:
    """A recording on disk, the sounds that were heard in it, and a table that says when."""

    raw: Path
    sounds: Path
    events: Path


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """The third subject of a study, as a file; models know the first two."""
    folder = tmp_path_factory.mktemp("heard")
    story = STUDY.fetch(folder)
    recording = STUDY.recordings(story)[2]
    raw = STUDY.raw(story, recording)
    raw.save(folder / "new_raw.fif", verbose="error")
    sounds = sorted({event.filepath for event in STUDY.events(story, recording) if hasattr(event, "filepath")})
    rows = ["onset\tduration\tstim_file\tword"]
    for event in STUDY.events(story, recording):
        if hasattr(event, "filepath"):
            rows.append(f"{event.start}\t{event.duration}\t{Path(event.filepath).name}\tn/a")
        elif hasattr(event, "word"):
            rows.append(f"{event.start}\t{event.duration}\t{Path(sounds[0]).name}\t{event.word}")
    (folder / "new_events.tsv").write_text("\n".join(rows))
    return Heard(folder / "new_raw.fif", Path(sounds[0]).parent, folder / "new_events.tsv")


Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make(heard: Heard, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the folder of a model of some settings, with random weights: what it answers is nonsense, but well formed."""
    import mne

    info = mne.io.read_raw_fif(heard.raw, verbose="error").info
    positions, _ = sensor_positions(info)
    layout = Layout(
        tuple(info["ch_names"]),
        tuple((float(x), float(y)) for x, y in positions),
        tuple((float(x), float(y), float(z)) for x, y, z in sensor_places(info)),
        (True,) * len(positions),
    )

    def made(*settings: str, **changes: Any) -> Path:
        base = BARE if not any("features" in setting for setting in settings) else [one for one in BARE if "mel" not in one]
        changed = dict(setting.split("=", 1) for setting in [*base, *settings])
        experiment = override(recipe("quickstart"), changed)
        window = experiment.data.window.read_with(experiment.window)
        features = tuple(
            FeatureScale(one.name, one.rate_hz, (-2.0,) * one.size, (1.5,) * one.size, one.silence)
            for one in experiment.data.features
        )
        size = sum(one.size for one in experiment.data.features)
        slices = (FeatureSlice("all", 0, size),)
        shapes = Shapes(
            len(layout.channels), KNOWN, size, window.times, window.rate_hz, window.tmin_s, layouts=(layout,), slices=slices
        )
        kinds = {"encoder": experiment.encoder, "speech_encoder": experiment.speech_encoder, "loss": experiment.loss}
        versions = {name: version(type(kind)) for name, kind in kinds.items()}
        torch.manual_seed(0)
        network = Network(Parts.of(experiment), shapes)
        card = ModelCard(
            signature=experiment.signature,
            data="digest",
            experiment=tree(contents(experiment)),
            versions={"raybrain": "0", "torch": torch.__version__, **versions},
            shapes=shapes,
            window=window,
            recordings={},
            features=features,
            metrics={"epoch": 1.0, "valid_loss": 2.0, "valid_top10": 0.5},
            calibration=changes.get("calibration", Calibration(0.02, 0.03, 1.5, 80)),
        )
        folder = tmp_path_factory.mktemp("model")
        write_model(folder, card, network.state_dict())
        return folder

    return made


def changed_raw(heard: Heard, path: Path, change: Callable[[Any], Any]) -> Path:
    """The recording, changed, as another file."""
    import mne

    raw = mne.io.read_raw_fif(heard.raw, preload=True, verbose="error")
    change(raw)
    raw.save(path, verbose="error")
    return path
