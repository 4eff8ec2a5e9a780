"""Speech models against transformers itself, in time and in windows; the wave, its envelope and its pitch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers

from raybrain.config import InputError, override
from raybrain.events import Sound
from raybrain.experiment import Experiment, recipe
from raybrain.features.base import Feature, Stimulus
from raybrain.features.pitch import Pitch
from raybrain.features.speech_model import SpeechFeature, SpeechModel
from raybrain.features.wave import Wave
from raybrain.identity import signature
from raybrain.store import Store
from tests.conftest import TINY, Ended
from tests.tiny_models import SPEECH

HZ = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.asarray(0.1 * np.random.default_rng(seed).standard_normal(round(seconds * HZ)), dtype=np.float32)


def heard(path: Path, wave: np.ndarray, start: float = 0.0, hz: int = HZ) -> Stimulus:
    soundfile.write(path, wave, hz, subtype="FLOAT")
    duration = len(wave) / hz
    return Stimulus(duration=start + duration, sounds=(Sound(start=start, duration=duration, filepath=str(path)),))


def directly(folder: str, wave: np.ndarray, layers: list[int]) -> np.ndarray:
    """What leaves the k-th transformer layer (1 is the first), caught there; the mean over ``layers``, [frames size]."""
    model: Any = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(wave, sampling_rate=HZ, return_tensors="pt")
    inputs.pop("attention_mask", None)
    part = model.encoder if model.config.model_type == "whisper" else model
    left: list[torch.Tensor] = []

    def catch(_layer: Any, _given: Any, out: Any) -> None:
        left.append(out[0] if isinstance(out, tuple) else out)

    for layer in part.layers if hasattr(part, "layers") else part.encoder.layers:
        layer.register_forward_hook(catch)
    with torch.no_grad():
        part(**inputs)
    return np.asarray(torch.stack([left[layer - 1][0] for layer in layers]).mean(dim=0))


def small(folder: str, **settings: Any) -> SpeechModel:
    return override(SpeechModel(), {"checkpoint": folder, "layers": "1,2", **settings})


@pytest.mark.parametrize("kind", SPEECH)
def test_hidden_states_are_those_of_transformers(kind: str, models: Callable[[str], str], tmp_path: Path) -> None:
    wave = noise(2.0)
    feature = small(models(kind))
    assert (feature.size, feature.rate_hz) == (16, 50.0)
    frames = feature.extract(heard(tmp_path / "a.wav", wave, start=1.0))
    expected = directly(models(kind), wave, [1, 2])
    count = 100 if kind == "whisper" else 99  # Whisper's frames are centred on 0, 20, ... ms, the others' on 12.5, 32.5, ...
    lead = 0 if kind == "whisper" else 1
    np.testing.assert_allclose(frames[50 + lead : 50 + lead + count], expected[:count], atol=2e-4)
    assert not frames[:50].any() and not frames[150:].any() and frames[50:150].any(axis=1).all()
    both = override(feature, {"combine": "concat"})
    assert both.size == 32 and both.extract(heard(tmp_path / "a.wav", wave)).shape == (101, 32)


@pytest.mark.parametrize("kind", SPEECH)
def test_a_batch_equals_each_alone(kind: str, models: Callable[[str], str]) -> None:
    feature = small(models(kind))
    waves = [torch.from_numpy(noise(seconds, seed)) for seed, seconds in enumerate((1.0, 0.4, 0.7))]
    if kind == "wav2vec2":  # padding would be heard, so that extract_many puts together what is of one length
        waves = [wave[:6400] for wave in waves]
    for alone, together in zip(waves, feature.run(waves, "cpu"), strict=True):
        torch.testing.assert_close(feature.run([alone], "cpu")[0], together, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "sizes"), [("wav2vec2", [1, 2]), ("wav2vec2_layer", [3])])
def test_what_is_put_into_a_batch(kind: str, sizes: list[int], models: Callable[[str], str]) -> None:
    feature = small(models(kind))
    waves = [torch.from_numpy(noise(seconds)) for seconds in (0.7, 0.5, 0.7)]
    windows = [next(feature._windows(number, wave, feature.grid)) for number, wave in enumerate(waves)]
    assert [len(batch) for batch in feature._batches(windows, samples=1e9)] == sizes
    assert [len(batch) for batch in feature._batches(windows, samples=0)] == [1, 1, 1]


@pytest.mark.parametrize("kind", SPEECH)
def test_a_device_that_takes_batches_gives_the_same(kind: str, models: Callable[[str], str], tmp_path: Path) -> None:
    feature = small(models(kind))
    stimuli = [heard(tmp_path / f"{seed}.wav", noise(seconds, seed)) for seed, seconds in enumerate((1.0, 0.4, 1.0))]
    batched = feature.extract_many(stimuli, device="cpu:0")  # any but plain "cpu" is taken for an accelerator
    for alone, together in zip(feature.extract_many(stimuli), batched, strict=True):
        np.testing.assert_allclose(together, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("seconds", [2.9, 3.0, 3.01, 7.3])
def test_windows_of_a_long_sound_equal_the_whole(seconds: float, models: Callable[[str], str], tmp_path: Path) -> None:
    feature = override(Feature.parse(f"speech_model_conv:{models('wav2vec2_layer')}"), {"window_s": 60, "context_s": 0.5})
    assert isinstance(feature, SpeechFeature)
    stimulus = heard(tmp_path / "a.wav", noise(seconds), start=0.3)
    whole = feature.extract(stimulus)
    cut = override(feature, {"window_s": 3})
    lengths: list[int] = []
    run = SpeechFeature.run

    def counted(self: SpeechFeature, waves: Any, device: str) -> Any:
        lengths.extend(len(wave) for wave in waves)
        return run(self, waves, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpeechFeature, "run", counted)
        np.testing.assert_allclose(cut.extract(stimulus), whole, atol=1e-5)
    assert max(lengths) <= 3.02 * HZ and (len(lengths) > 1) == (seconds > 3.01)


def test_a_click_is_found_where_it_is(models: Callable[[str], str], tmp_path: Path) -> None:
    feature = Feature.parse(f"speech_model_conv:{models('wav2vec2_layer')}")
    wave = noise(4.0)
    before = feature.extract(heard(tmp_path / "a.wav", wave, start=0.5))
    wave[2 * HZ] += 0.5
    after = feature.extract(heard(tmp_path / "b.wav", wave, start=0.5))
    changed = np.flatnonzero(np.abs(after - before).max(axis=1) > 0.004) / feature.rate_hz
    assert len(changed) and np.all(np.abs(changed - 2.5) <= 0.025)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401])
def test_very_short_sounds(kind: str, samples: int, models: Callable[[str], str], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1.0), HZ)
    sound = Sound(start=0.0, duration=samples / HZ, filepath=str(tmp_path / "a.wav"))
    frames = small(models(kind)).extract(Stimulus(duration=1.0, sounds=(sound,)))
    assert np.isfinite(frames).all() and frames[:1].any() == (samples > 0)


def test_what_is_heard_beside_a_sound_changes_nothing(models: Callable[[str], str], tmp_path: Path) -> None:
    feature = small(models("wav2vec2_layer"))
    one = heard(tmp_path / "a.wav", noise(1.0))
    two = heard(tmp_path / "b.wav", noise(1.5, seed=1), start=1.0)
    both = Stimulus(duration=2.5, sounds=one.sounds + two.sounds)
    np.testing.assert_array_equal(feature.extract(both)[:50], feature.extract(one)[:50])
    for alone, together in zip((one, two, both), feature.extract_many([one, two, both]), strict=True):
        np.testing.assert_array_equal(together, feature.extract(alone))


def test_frames_at_another_rate_are_the_nearest(models: Callable[[str], str], tmp_path: Path) -> None:
    feature = small(models("wav2vec2"))
    stimulus = heard(tmp_path / "a.wav", noise(1.0))
    frames, fine = feature.extract(stimulus), override(feature, {"rate_hz": 200}).extract(stimulus)
    np.testing.assert_array_equal(fine[:200:4], frames[:50])


def test_untrained_control_is_always_the_same_one(models: Callable[[str], str], tmp_path: Path) -> None:
    trained, control = small(models("wav2vec2")), small(models("wav2vec2"), random=True)
    stimulus = heard(tmp_path / "a.wav", noise(1.0))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = control.extract(stimulus)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.abs(first - trained.extract(stimulus)).max() > 0.1
    np.testing.assert_array_equal(first, control.extract(stimulus))


def test_a_folder_is_told_apart_by_its_content(models: Callable[[str], str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models("wav2vec2"), folder)
    feature = small(str(folder))
    stimulus = heard(tmp_path / "a.wav", noise(0.5))
    first = feature.extract(stimulus)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "config.json.metadata").write_text("when it was downloaded")
    assert feature.identity() == small(models("wav2vec2")).identity()
    assert signature(feature) == signature(small(models("wav2vec2"))), "wherever the folder lies"
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layers[0].attention.out_proj.weight.mul_(2)
    model.save_pretrained(folder)
    assert feature.identity() != small(models("wav2vec2")).identity()
    assert signature(feature) != signature(small(models("wav2vec2")))
    assert np.abs(feature.extract(stimulus) - first).max() > 1e-3


def test_a_folder_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("models/tiny", "./models/tiny", "~/models/tiny", f"{tmp_path}/models/tiny"):
        for kind in ("speech_model", "text_model", "part_of_speech"):
            assert Feature.parse(f"{kind}:{name}") == Feature.parse(f"{kind}:{tmp_path}/models/tiny")
    assert small("openai/whisper-base").checkpoint == "openai/whisper-base"


def test_a_model_in_the_cache_of_the_hub(models: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commit = "0123456789" * 4
    cached = tmp_path / "models--somebody--tiny"
    shutil.copytree(models("wav2vec2"), cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asks the network"))
    feature = small("somebody/tiny")
    feature.check()
    assert feature.identity() == {"model": commit}
    stimulus = heard(tmp_path / "a.wav", noise(0.5))
    np.testing.assert_array_equal(feature.extract(stimulus), small(models("wav2vec2")).extract(stimulus))
    assert small("somebody/tiny", random=True).extract(stimulus).any()
    lost = small("somebody/other")
    for use in (lost.check, lost.identity, lambda: lost.size):
        with pytest.raises(
            InputError, match=r"^no model 'somebody/other' on this machine; type hf download somebody/other, .*$"
        ):
            use()


def test_models_that_cannot_be_used(models: Callable[[str], str], tmp_path: Path) -> None:
    stimulus = heard(tmp_path / "a.wav", noise(0.5))
    wrong = {
        "layers=4; type": small(models("wav2vec2"), layers="4"),
        "has hidden states 0 to 3": small(models("whisper"), layers="9"),
        "bert model; supported are models of waves": small(models("bert")),
        "holds no model that transformers can load: ": small(str(tmp_path)),
        f"the folder {tmp_path}/nowhere holds no model that transformers can load: it is not there": small(
            f"{tmp_path}/nowhere"
        ),
        "no convolutions over waves; type speech_model:": Feature.parse(f"speech_model_conv:{models('whisper')}"),
        "takes 30 s at most, found window_s=31": small(models("whisper"), window_s=31),
    }
    for message, feature in wrong.items():
        with pytest.raises(InputError) as error:
            feature.extract(stimulus)
        assert message in str(error.value) and "\n" not in str(error.value), error.value
    with pytest.raises(InputError, match="leaves nothing of window_s=4"):
        small(models("whisper"), window_s=4, context_s=2)


def test_weights_that_are_not_there_are_not_drawn(models: Callable[[str], str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = transformers.AutoModel.from_pretrained(models("hubert_layer"))
    weights = {name: value for name, value in model.state_dict().items() if "layers.1." not in name}
    model.save_pretrained(folder, state_dict=weights)
    shutil.copy(Path(models("hubert_layer")) / "preprocessor_config.json", folder)
    with pytest.raises(InputError, match=r"has no weights for encoder\.layers\.1"):
        small(str(folder)).extract(heard(tmp_path / "a.wav", noise(0.5)))


def test_a_checkpoint_as_published_years_ago(models: Callable[[str], str], tmp_path: Path) -> None:
    """The paper's: pickled, of a model with more around it, its weight norm under old names."""
    folder = tmp_path / "model"
    shutil.copytree(models("wav2vec2_layer"), folder)
    (folder / "model.safetensors").unlink()
    model = transformers.AutoModel.from_pretrained(models("wav2vec2_layer"))
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for name, value in model.state_dict().items():
        for new, before in old.items():
            name = name.replace(new, before)
        if name != "masked_spec_embed":
            weights[f"wav2vec2.{name}"] = value
    assert any(name.endswith("weight_g") for name in weights)
    torch.save({**weights, "quantizer.codevectors": torch.zeros(2)}, folder / "pytorch_model.bin")
    stimulus = heard(tmp_path / "a.wav", noise(0.5))
    np.testing.assert_array_equal(small(str(folder)).extract(stimulus), small(models("wav2vec2_layer")).extract(stimulus))


def test_recipes_are_asked_without_the_model(raybrain: Callable[..., Ended]) -> None:
    paper = recipe("defossez2023").data.features[0]
    assert isinstance(paper, SpeechModel)
    assert (paper.checkpoint, paper.layers) == ("facebook/wav2vec2-large-xlsr-53", (14, 15, 16, 17, 18))
    assert paper.combine == "mean" and not paper.random
    assert recipe("defossez2023_mel").data.features == (Feature.parse("mel"),)
    shown = raybrain("show", "defossez2023")
    assert shown.code == 0 and "wav2vec2-large-xlsr-53" in shown.out


# wave, envelope, pitch


def test_frames_of_a_wave_are_the_wave(tmp_path: Path) -> None:
    feature = override(Wave(), {"samples": 50, "rate_hz": 80})
    hz = 80 * 50
    tone = np.sin(2 * np.pi * 300 * np.arange(2 * hz) / hz)
    stimulus = heard(tmp_path / "a.wav", tone, start=0.301, hz=hz)
    wave = feature.extract(stimulus).ravel()
    start = round(0.301 * hz)
    np.testing.assert_allclose(wave[start : start + 2 * hz], tone, atol=1e-5)
    assert not wave[:start].any() and not wave[start + 2 * hz :].any()
    resampled = Wave().extract(heard(tmp_path / "b.wav", np.sin(2 * np.pi * 300 * np.arange(HZ) / HZ))).ravel()
    np.testing.assert_allclose(resampled[200:16_000], np.sin(2 * np.pi * 300 * np.arange(200, 16_000) / 16_200), atol=2e-3)


def test_a_wave_needs_the_rate_of_the_brain() -> None:
    with pytest.raises(InputError, match=r"type data\.features\.wave\.rate_hz=100"):
        override(Experiment(), {"data.features": "wave", "data.signal.rate_hz": 100})
    override(Experiment(), {"data.features": "wave", "data.signal.rate_hz": 100, "data.features.wave.rate_hz": 100})
    with pytest.raises(InputError, match="not a whole number"):
        override(Wave(), {"rate_hz": 120.5})


def test_envelope_follows_loudness(tmp_path: Path) -> None:
    time = np.arange(4 * HZ) / HZ
    loudness = 0.3 * (1 + 0.8 * np.sin(2 * np.pi * 4 * time))
    frames = Feature.parse("envelope").extract(heard(tmp_path / "a.wav", loudness * np.sin(2 * np.pi * 440 * time)))[:, 0]
    expected = loudness[:: HZ // 100] * 2 / np.pi  # the mean of a rectified sine
    np.testing.assert_allclose(frames[20:380], expected[20:380], atol=0.003)
    assert frames.min() >= 0


@pytest.mark.parametrize(("low", "high"), [(110.0, 330.0), (340.0, 105.0)])
@pytest.mark.parametrize("harmonics", [1, 10])
def test_pitch_of_a_glide(low: float, high: float, harmonics: int, tmp_path: Path) -> None:
    time = np.arange(3 * HZ) / HZ
    phase = 2 * np.pi * np.cumsum(low + (high - low) * time / 3) / HZ
    voice = 0.1 * sum(np.sin(k * phase) / k for k in range(1, harmonics + 1))
    wave = np.r_[np.zeros(HZ), voice, noise(1.0), np.zeros(HZ)]
    pitch = Feature.parse("pitch").extract(heard(tmp_path / "a.wav", wave))[:, 0]
    true = low + (high - low) * np.arange(300) / 300
    assert np.max(np.abs(pitch[105:395] / true[5:295] - 1)) < 0.03
    assert not pitch[:98].any() and not pitch[402:].any()


def test_pitch_outside_of_its_range_is_no_pitch(tmp_path: Path) -> None:
    for hz in (70.0, 700.0):
        tone = 0.1 * np.sin(2 * np.pi * hz * np.arange(HZ) / HZ)
        pitch = Pitch().extract(heard(tmp_path / "a.wav", tone))[:, 0]
        assert np.isin(np.round(pitch / (hz / 2)), (0, 1)).all()  # nothing, or an octave below where that is in range


# all the way


@pytest.mark.slow
def test_prepare_a_speech_model(
    raybrain: Callable[..., Ended], models: Callable[[str], str], home: Path, ray_cluster: None
) -> None:
    settings = [setting for setting in TINY if setting.startswith("data.studies")]
    feature = [f"data.features=speech_model:{models('wav2vec2_layer')}", "data.features.speech_model.layers=2,3"]
    ended = raybrain("prepare", "quickstart", *settings, *feature, "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    manifest = Store(Path(ended.json["store"])).manifest
    (entry,) = [entry for name, entry in manifest["features"].items() if name.startswith("speech_model")]
    assert (entry["size"], entry["rate_hz"]) == (16, 50.0) and entry["computed"] == entry["stimuli"] == len(entry["files"]) > 1
    assert entry["deviation"][0] > 0 and entry["identity"] == small(models("wav2vec2_layer")).identity()


@pytest.mark.slow
def test_train_end_to_end(raybrain: Callable[..., Ended], home: Path, ray_cluster: None) -> None:
    settings = [setting for setting in TINY if ".mel." not in setting and "epochs" not in setting]
    wave = ["data.features=wave", "speech_encoder=wave", "speech_encoder.channels=4", "speech_encoder.depth=1"]
    ended = raybrain(
        *("train", "quickstart", *settings, *wave, "speech_encoder.output=8", "train.epochs=1", "train.updates_per_epoch=2"),
        *("--home", str(home), "--json"),
    )
    assert ended.code == 0, ended.err
