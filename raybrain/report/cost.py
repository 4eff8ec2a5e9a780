"""Cost: what training an experiment would take on data nobody has prepared yet, from what is known of its studies."""

import functools
from dataclasses import dataclass, replace

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.experiment import Experiment
from raybrain.features.base import Feature
from raybrain.studies.base import Study

FLOPS = 5e12  # a second: a third of the peak of the V100 in float32, which the paper used
FEATURES = 1024  # of wav2vec 2.0 and its like, whose size only their files say
BACKWARD = 2  # times the forward pass, as in any network


@dataclass(frozen=True)
class Cost:
    """An upper bound: no training stops early.

    Attributes:
        steps: optimiser steps.
        flops: floating point operations of them.
    """

    steps: int
    flops: float

    @property
    def hours(self) -> float:
        """Of one GPU that sustains ``FLOPS``."""
        return self.flops / FLOPS / 3600


def training_cost(experiment: Experiment) -> Cost | None:
    """What an experiment takes if it trains for all of its epochs; None where the hours of a study are not known."""
    data, train = experiment.data, experiment.train
    facts = [study.facts for study in data.studies]
    if not all(fact.hours for fact in facts):
        return None
    splits = data.splits
    share = 1 - splits.test_ratio - splits.valid_ratio - splits.remove_ratio
    hours = sum(_hours(study) for study in data.studies)
    segments = hours * 3600 * share / data.segments.stride_s
    updates = min(round(segments / train.batch_size), train.updates_per_epoch)
    steps = train.epochs * max(updates, 1)
    channels = data.signal.channels(max(fact.channels for fact in facts))
    return Cost(steps, steps * train.batch_size * (1 + BACKWARD) * _forward_flops(experiment, channels or 1))


def _hours(study: Study) -> float:
    """Of the recordings a study is limited to, if all are as long as the mean of them."""
    facts = study.facts
    total = facts.recordings or 1
    most = getattr(study, "max_recordings", None) or total
    return facts.hours * min(most, total) / total


def _forward_flops(experiment: Experiment, channels: int) -> float:
    """Of one segment: every weight multiplies and adds once a sample, as in a convolution; where rates are lower, fewer do."""
    data = experiment.data
    window = data.window.read_with(experiment.window)
    features = sum(_size(feature) for feature in data.features)
    shapes = Shapes(channels, ("one",), features, window.times, window.rate_hz, window.tmin_s)
    return 2.0 * window.times * _weights(experiment.encoder, experiment.speech_encoder, shapes)


@functools.cache
def _weights(encoder: Encoder, speech: SpeechEncoder, shapes: Shapes) -> int:
    """Of both networks, one subject's of what each subject has; no memory is taken."""
    import torch

    with torch.device("meta"):
        net, other = encoder.build(replace(shapes, features=speech.size(shapes.features))), speech.build(shapes.features)
    return sum(weights.numel() for part in (net, other) if part is not None for weights in part.parameters())


def _size(feature: Feature) -> int:
    try:
        return feature.size
    except InputError:  # the model is not on this machine
        return FEATURES
