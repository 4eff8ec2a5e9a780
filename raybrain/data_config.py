"""What is prepared: the part of an experiment that a process needs which only prepares data, and which does without torch."""

from typing import Self

from pydantic import Field, model_validator

from raybrain.config import Config, InputError
from raybrain.events import SplitConfig
from raybrain.features.base import Feature
from raybrain.identity import signature
from raybrain.signal.base import SignalConfig
from raybrain.signal.window import SegmentConfig, Window
from raybrain.studies.base import Study

PREPARE_VERSION = 11  # raise it when the code that prepares data gives other numbers


class DataConfig(Config):
    """What ``prepare`` reads: nothing else can change the prepared data.

    Attributes:
        studies: recordings of people who hear, or read, speech.
        features: what is to be found from the brain. Several are put side by side, each with a place and scale of its own.
        signal: what is done to the continuous signal.
        segments: where windows lie and how long they are.
        splits: what is trained on and what is tested.
    """

    studies: tuple[Study, ...] = Field(default_factory=lambda: (Study.kind("synthetic")(),), min_length=1)
    features: tuple[Feature, ...] = Field(default_factory=lambda: (Feature.kind("mel")(),), min_length=1)
    signal: SignalConfig = Field(default_factory=SignalConfig)
    segments: SegmentConfig = SegmentConfig()
    splits: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) < len(names):
            raise InputError(f"each feature once, found {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        for feature in self.features:
            if feature.continuous and feature.rate_hz != self.signal.rate_hz:
                raise InputError(
                    f"{feature.name} must have the rate of the brain, {self.signal.rate_hz:g} Hz, found {feature.rate_hz:g}; "
                    f"type data.features.{feature.name}.rate_hz={self.signal.rate_hz:g}"
                )
        return self

    @property
    def window(self) -> Window:
        """How windows are cut from the prepared signal."""
        return Window.of(self.segments, self.signal.rate_hz)

    @property
    def brain_signature(self) -> str:
        """Names all prepared data but the features, which lie beside it under names of their own."""
        return signature(self.model_copy(update={"features": ()}), version=PREPARE_VERSION)

    def reading_signature(self, study: Study) -> str:
        """Names what is done to a recording of ``study``, whichever others and whatever other studies are read with it."""
        return signature(self.model_copy(update={"features": (), "studies": (study.reading,)}), version=PREPARE_VERSION)
