"""The paper's grids ask what facts/results.md says they ask: so many runs, these settings; and every setting does something."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.plain import differences
from raybrain.tune.space import SearchSpace, load_space, space_files
from raybrain.tune.walk import grid
from tests.workers import SMALL, random_tables

# Grids of the paper, "each 3 seeds": how many experiments without the seeds, and the settings in which they differ
STUDIES = {"brennan2019", "broderick2019", "gwilliams2022", "schoffelen2019"}
GRIDS: dict[str, tuple[int, set[str]]] = {
    # 4 studies x {wav2vec 2.0, mel, DeepMel, mel with MSE}; the random row is chance, and comes without training
    "main_table": (4 * 4, {"data.studies", "data.features", "speech_encoder", "loss"}),
    "ablation": (
        4 * 12,
        {
            *("data.studies", "window.clamp", "encoder.subject", "encoder.attention.dropout_radius", "encoder.attention.on"),
            *("encoder.conv.activation", "encoder.conv.skip", "encoder.final", "encoder.initial_linear"),
            "encoder.conv.glu.every",
        },
    ),
    "lr_batch_size": (4 * 4 * 4, {"data.studies", "optim.lr", "train.batch_size", "train.contrast_size"}),
    "offset": (4 * 7, {"data.studies", "window.offset_s"}),
    "n_mels": (4 * 4 * 3, {"data.studies", "data.features", "data.features.mel.bands", "speech_encoder", "loss"}),
    "autoreject": (4 * 2, {"data.studies", "data.signal.steps"}),
    "per_subject_gwilliams": (9, {"data.studies", "test.subjects"}),
    "per_subject_schoffelen": (10, {"data.studies", "test.subjects"}),
    "meg_vs_eeg": (3, {"data.studies", "data.signal.steps", "data.splits.remove_ratio"}),
    "word_lists": (
        1,
        {"data.studies", "data.segments.tmin_s", "data.segments.tmax_s", "train.batch_size", "train.contrast_size"},
    ),
}
PAPER = [path.stem for path in space_files() if path.parent.name == "nmi"]


def points(name: str) -> Iterator[tuple[SearchSpace, dict[str, Any], dict[str, Any]]]:
    """Every run of a grid: the space, the Optuna parameters and the settings, seed included."""
    space = load_space(name)
    for point in grid(space):
        for changes in space.repeats().values():
            yield space, point.params, {**space.fixed, **point.settings, **changes}


def test_all_grids_are_there() -> None:
    assert set(PAPER) == set(GRIDS)


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_the_papers_runs_and_settings(name: str) -> None:
    runs, settings = GRIDS[name]
    found = list(points(name))
    assert len(found) == runs * 3
    assert {settings["train.seed"] for _, _, settings in found} == {2036, 2037, 2038}
    assert all(settings["data.splits.mode"] == "paper" for _, _, settings in found), "else no number compares"
    changed = {key for _, _, found_ in found for key in found_} - {"train.seed", "data.splits.mode"}
    assert {key for key in changed if not key.startswith("data.studies.")} <= settings
    space = found[0][0]
    assert (space.sampler.name, space.scheduler.name, space.recipe) == ("grid", "none", "defossez2023")


@pytest.mark.parametrize("name", GRIDS)
def test_every_point_is_another_experiment(name: str) -> None:
    found = [space.experiment(settings) for space, _, settings in points(name)]
    assert len({experiment.signature for experiment in found}) == len(found)


def experiments(name: str) -> dict[tuple[str, ...], Experiment]:
    """The experiments of a grid by the names of their variants and the values of their parameters, of one seed."""
    return {
        tuple(str(value) for value in params.values()): space.experiment(settings)
        for space, params, settings in points(name)
        if settings["train.seed"] == 2036
    }


def test_main_table() -> None:
    found = experiments("main_table")
    assert {names[0] for names in found} == STUDIES
    for (study, model), experiment in found.items():
        assert [kind.name for kind in experiment.data.studies] == [study]
        (feature,) = experiment.data.features
        assert feature.name == ("speech_model" if model == "wav2vec 2.0" else "mel")
        assert getattr(feature, "bands", 120) == 120
        assert experiment.speech_encoder.name == ("deep_mel" if model == "DeepMel" else "stored")
        assert experiment.loss.name == ("mse" if model == "mel with MSE" else "contrastive")
        assert (experiment.train.batch_size, experiment.train.contrast_size) == (256, 128)


def test_learning_rates_and_batches() -> None:
    found = experiments("lr_batch_size").values()
    pairs = {(experiment.optim.lr, experiment.train.batch_size) for experiment in found}
    assert pairs == {(lr, batch) for lr in (1e-4, 3e-4, 6e-4, 1e-3) for batch in (32, 64, 128, 256)}
    assert all(2 * (experiment.train.contrast_size or 0) == experiment.train.batch_size for experiment in found)


def test_offsets() -> None:
    assert {experiment.window.offset_s for experiment in experiments("offset").values()} == {n / 20 for n in range(7)}


def test_bands() -> None:
    found = {
        (experiment.data.features[0].bands, experiment.speech_encoder.name, experiment.loss.name)  # type: ignore[attr-defined]
        for experiment in experiments("n_mels").values()
    }
    kinds = [("stored", "contrastive"), ("deep_mel", "contrastive"), ("stored", "mse")]
    assert found == {(bands, *kind) for bands in (20, 40, 80, 120) for kind in kinds}


def test_autoreject_on_sixteen_recordings() -> None:
    for (_, cleaning), experiment in experiments("autoreject").items():
        assert experiment.data.studies[0].max_recordings == 16  # type: ignore[attr-defined]
        steps = [step.name for step in experiment.data.signal.steps]
        assert steps == (["resample", "autoreject"] if cleaning == "autoreject" else ["resample"])


def test_numbers_of_subjects() -> None:
    gwilliams = experiments("per_subject_gwilliams").values()
    assert [len(e.data.studies[0].subjects) for e in gwilliams] == list(range(3, 28, 3))  # type: ignore[attr-defined]
    assert {e.test.subjects for e in gwilliams} == {3}
    schoffelen = experiments("per_subject_schoffelen").values()
    assert [e.data.studies[0].max_recordings for e in schoffelen] == list(range(10, 101, 10))  # type: ignore[attr-defined]
    assert {e.test.subjects for e in schoffelen} == {10}


def test_meg_and_eeg_at_equal_data() -> None:
    space = load_space("meg_vs_eeg")
    found = space.variants["study"]
    assert {study: settings[f"data.studies.{study}.max_recordings"] for study, settings in found.items()} == {
        "schoffelen2019": 19,
        "gwilliams2022": 140,
        "broderick2019": 380,
    }
    train = 1 - 0.2 - 0.1
    removed = {study: settings["data.splits.remove_ratio"] / train for study, settings in found.items()}
    assert removed == pytest.approx({"schoffelen2019": 0.0, "gwilliams2022": 0.62, "broderick2019": 0.21})
    hours = {"schoffelen2019": 80.9 * 19 / 96, "gwilliams2022": 56.2 * 140 / 196, "broderick2019": 19.2}
    left = [train * (1 - removed[study]) * hours[study] for study in found]
    assert max(left) < 1.1 * min(left), "the hours to train on are to be equal"
    assert space.fixed["data.signal.steps"] == "sensors:128,resample"


def test_word_lists() -> None:
    (experiment,) = experiments("word_lists").values()
    segments, train = experiment.data.segments, experiment.train
    assert (segments.tmin_s, segments.tmax_s, train.batch_size, train.contrast_size) == (-0.3, 0.5, 128, 64)
    assert differences(experiment)["data.studies"] == [{"name": "schoffelen2019", "selection": "audio_wordlists"}]


# published numbers


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("main_table", ("gwilliams2022", "wav2vec 2.0"), (70.7, 0.1)),
        ("main_table", ("brennan2019", "mel"), (8.0, 4.8)),
        ("main_table", ("broderick2019", "random"), (0.5, 0.1)),
        ("main_table", ("schoffelen2019", "mel with MSE"), (20.6, 1.8)),
        ("ablation", ("schoffelen2019", "no clamping"), (1.5, 0.0)),
        ("ablation", ("brennan2019", "no GLU conv"), (6.0, 0.0)),
        ("ablation", ("broderick2019", "subject embedding"), (14.7, 0.0)),
    ],
)
def test_published_numbers_stand_where_they_belong(name: str, key: tuple[str, ...], value: tuple[float, float]) -> None:
    assert load_space(name).published[key] == value


@pytest.mark.parametrize("name", ["main_table", "ablation"])
def test_every_cell_has_a_published_number(name: str) -> None:
    space = load_space(name)
    cells = {tuple(point.params.values()) for point in grid(space)}
    extra = set(space.published) - cells
    assert not cells - set(space.published)
    assert extra <= {(study, "random") for study in STUDIES} | {(study, "full", "main table") for study in STUDIES}


def test_the_means_of_the_ablation_are_those_of_the_paper() -> None:
    """The fifth column of its table is a check on the other four."""
    space = load_space("ablation")
    means = [43.3, 43.8, 43.4, 42.9, 41.9, 40.8, 40.6, 40.2, 40.0, 36.5, 28.4, 9.7]
    for model, mean in zip(space.variants["model"], means, strict=True):
        assert sum(space.published[study, model][0] for study in STUDIES) / 4 == pytest.approx(mean, abs=0.06)


# ablations change the model


def built(changes: dict[str, Any]) -> dict[str, torch.Size]:
    """The weights of the encoder that some settings give, by name."""
    experiment = override(Experiment(), SMALL | changes)
    encoder = experiment.encoder.build(random_tables(experiment).shapes)
    return {name: weights.shape for name, weights in encoder.named_parameters()}


def test_every_ablation_is_another_model_or_another_limit() -> None:
    full = built({})
    without = {
        "no final convs": "final",
        "no initial 1x1": "front.linear",
        "no spatial attention": "front.attention",
        "no GLU conv": "gate",
        "no subject layer": "subject_layer",
    }
    for model, changes in load_space("ablation").variants["model"].items():
        weights = built(dict(changes))
        if model in without:
            assert any(without[model] in name for name in full)
            assert not any(without[model] in name for name in weights), model
        elif model == "subject embedding":
            assert any("subject_embedding" in name for name in weights)
        else:
            assert weights == full, model
    experiment = override(Experiment(), SMALL)
    clamps = {None: "no clamping", 100.0: "clamp 100"}
    for clamp, model in clamps.items():
        changes = load_space("ablation").variants["model"][model]
        assert override(experiment, changes).window.clamp == clamp


def test_relu_skip_and_dropout_change_what_comes_out() -> None:
    """The same weights, another function."""
    space = load_space("ablation")
    tables = random_tables(override(Experiment(), SMALL), torch.float32)

    def out(changes: Any) -> torch.Tensor:
        torch.manual_seed(0)
        # the first layers meet other sizes, so two have no residual
        encoder = override(Experiment(), SMALL | {"encoder.depth": 4} | dict(changes)).encoder.build(tables.shapes).train()
        batch = tables.brain(torch.arange(8), torch.full((8,), 0.5, dtype=torch.float64))
        found: torch.Tensor = encoder(batch)
        return found

    full = out({})
    assert torch.equal(full, out({}))
    for model in ("ReLU", "no skip", "no attention dropout"):
        assert not torch.allclose(full, out(space.variants["model"][model])), model
