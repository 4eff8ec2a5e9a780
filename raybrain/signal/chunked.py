"""Chunked: recordings whose values are computed when they are read, a block at a time, so that no whole recording is in memory.

A step with ``in_chunks`` gives such a recording: :func:`mapped` changes each sample by itself, :func:`filtered` convolves, and
:func:`resampled` changes the rate. They are mne recordings like any other: slices can be read, channels picked, and
``load_data`` computes all of it, for a step that needs it whole. Blocks begin at fixed samples, whatever is read in whichever
order, so that a value is the same bit for bit however it is come by; the block read last is kept.

Convolutions are in float32, less the first value of each channel, so that neither the unit nor a constant offset costs
precision: what is lost is 1e-6 of the largest excursion of a channel. That is enough for filters without feedback. It is not
for sums over a whole recording, inverses and decompositions (covariances, ICA, Maxwell filters): these are float64.

The one private part of mne that is used is ``_read_segment_file``, by which all its readers are made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import mne

Values = np.ndarray
BLOCK_VALUES = 2_000_000  # of a block, roughly: 16 MB; shorter ones cost time where files hold a second in a piece


class Blocks(ABC):
    """Signal that is computed from a recording, block by block.

    Attributes:
        raw: the recording it is computed from.
        channels: how many come out.
        samples: how many of each.
        length: of a block, in samples.
    """

    def __init__(self, raw: "mne.io.BaseRaw", channels: int, samples: int, length: int) -> None:
        self.raw, self.channels, self.samples, self.length = raw, channels, samples, length
        self._start, self._block = -1, np.empty((0, 0))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: a copy of a recording is computed from the same one, which nobody changes."""
        return self

    @abstractmethod
    def compute(self, start: int, stop: int) -> Values:
        """The block from sample ``start`` to ``stop``, [channels samples]."""

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, Values]]:
        """The samples from ``start`` to ``stop``, block by block: where a piece begins, and the piece, not to be changed."""
        for first in range(start - start % self.length, stop, self.length):
            if self._start != first:
                self._start, self._block = -1, np.empty((0, 0))  # so that there are never two
                self._block = self.compute(first, min(first + self.length, self.samples))
                self._start = first
            begin = max(start, first)
            yield begin, self._block[:, begin - first : stop - first]


def block_length(channels: int) -> int:
    """Samples of a block of so many channels."""
    return max(256, BLOCK_VALUES // max(channels, 1))


@cache
def _kind() -> type["mne.io.BaseRaw"]:
    import mne

    class ChunkedRaw(mne.io.BaseRaw):  # type: ignore[misc]
        """A recording whose values :class:`Blocks` compute."""

        def _read_segment_file(
            self, data: Values, idx: Any, fi: int, start: int, stop: int, cals: Values | None, mult: Values | None
        ) -> None:
            """Fill ``data`` [channels samples] with the channels ``idx``, or with ``mult`` times them."""
            blocks, late = self._raw_extras[fi]["blocks"], self._raw_extras[fi]["first_samp"]
            for begin, piece in blocks.pieces(start - late, stop - late):
                at = begin + late - start
                data[:, at : at + piece.shape[1]] = piece[idx] if mult is None else mult @ piece[idx]
                del piece  # or the block that it is of would live on while the next is computed

    return ChunkedRaw


def chunked(blocks: Blocks, info: "mne.Info", rate_hz: float | None = None) -> "mne.io.BaseRaw":
    """The recording that ``blocks`` compute, with the annotations of the one they compute it from.

    Args:
        blocks: what computes it.
        info: of its channels.
        rate_hz: its rate, if that is not the rate in ``info``.
    """
    info, before = info.copy(), float(info["sfreq"])
    rate_hz = rate_hz or before
    with info._unlock():
        info["sfreq"], info["lowpass"] = rate_hz, min(info["lowpass"], rate_hz / 2)
        for channel in info["chs"]:
            channel["cal"] = channel["range"] = 1.0
    first = round(blocks.raw.first_samp * rate_hz / before)
    extras = [{"blocks": blocks, "first_samp": first}]
    names = blocks.raw.filenames[:1]
    raw = _kind()(info, False, [first], [first + blocks.samples - 1], names, raw_extras=extras, verbose="error")
    annotations = blocks.raw.annotations.copy()
    if annotations.orig_time is None:  # then mne takes them to count from the first sample
        annotations.onset -= blocks.raw.first_time
    return raw.set_annotations(annotations, verbose="error")


def pieces(raw: "mne.io.BaseRaw", start: int, stop: int) -> Iterator[tuple[int, Values]]:
    """The samples of a recording from ``start`` to ``stop``: where a piece begins, and the piece, not to be changed.

    Those of a recording that is computed, and of which nothing was picked or cropped since, are not copied.
    """
    if blocks := _untouched(raw):
        yield from blocks.pieces(start, stop)
        return
    length = block_length(len(raw.ch_names))
    for first in range(start, stop, length):
        yield first, raw[:, first : min(first + length, stop)][0]


def _untouched(raw: "mne.io.BaseRaw") -> Blocks | None:
    """What computes a recording, if that is just what the recording holds."""
    if not isinstance(raw, _kind()) or raw.preload or len(raw._raw_extras) > 1:
        return None
    blocks: Blocks = raw._raw_extras[0]["blocks"]
    same = np.array_equal(raw._read_picks[0], np.arange(blocks.channels)) and raw.n_times == blocks.samples
    return blocks if same and raw._projector is None and raw._comp is None else None


class _Mapped(Blocks):
    def __init__(
        self, raw: "mne.io.BaseRaw", function: Callable[[Values], Values], picks: Values | None, channels: int
    ) -> None:
        super().__init__(raw, channels, raw.n_times, block_length(len(raw.ch_names)))
        self.function, self.picks = function, slice(None) if picks is None else picks
        self.watch: Callable[[int, Values], None] | None = None

    def compute(self, start: int, stop: int) -> Values:
        values = self.raw[self.picks, start:stop][0]
        if self.watch:
            self.watch(start, values)
        return self.function(values)


def mapped(
    raw: "mne.io.BaseRaw",
    function: Callable[[Values], Values],
    info: "mne.Info | None" = None,
    picks: Values | None = None,
    watch: Callable[[int, Values], None] | None = None,
) -> "mne.io.BaseRaw":
    """A recording of which each sample is a function of the same sample of another.

    Args:
        raw: the other.
        function: from a stretch of it [channels samples], which is not to be changed, to the same stretch of the result.
        info: of the result, if its channels are others than those picked.
        picks: the channels that the function gets; None for all.
        watch: is shown each block before, with the sample it begins at.
    """
    import mne

    if info is None:
        info = raw.info if picks is None else mne.pick_info(raw.info, picks)
    blocks = _Mapped(raw, function, picks, len(info["chs"]))
    blocks.watch = watch
    return chunked(blocks, info)


class Forward:
    """Stretches of a recording that are read one after the other and may overlap: each sample is read once.

    They may reach past both ends, where the signal goes on reflected at its first and last value, and as zeros where there is
    no more to reflect: as mne pads (``reflect_limited``). The first value of each channel is taken off.

    Attributes:
        span: the samples that are the signal; where it ends there, others may follow that are none of it.
        offset: the first value of each channel, [channels 1] float64.
    """

    def __init__(self, raw: "mne.io.BaseRaw", span: tuple[int, int] | None = None, dtype: type = np.float32) -> None:
        self.raw, self.span = raw, span or (0, raw.n_times)
        self.offset = raw[:, self.span[0] : self.span[0] + 1][0].copy()
        self._buffer: Values = np.empty((len(self.offset), 0), dtype)
        self._start, self._stop = 0, 0

    def take(self, start: int, stop: int) -> Values:
        """From sample ``start`` to ``stop``, [channels samples]; valid until the next is taken, and not to be changed."""
        again = max(0, min(self._stop, stop) - start) if self._start <= start else 0
        kept = self._buffer[:, start - self._start : start - self._start + again]
        if stop - start > self._buffer.shape[1]:
            grown = np.empty((len(self.offset), stop - start), self._buffer.dtype)
            grown[:, :again] = kept
            self._buffer = grown
        else:
            for row, values in zip(self._buffer, kept, strict=True):  # numpy copies what overlaps before it moves it
                row[:again] = values
        self._start, self._stop = start, start + again
        self._fill(self._buffer[:, again : stop - start], start + again, stop)
        self._stop = stop
        return self._buffer[:, : stop - start]

    def _fill(self, out: Values, start: int, stop: int) -> None:
        first, last = self.span
        for begin, piece in pieces(self.raw, max(start, first), min(stop, last)):
            at = begin - start
            np.subtract(piece, self.offset, out=out[:, at : at + piece.shape[1]], casting="unsafe")
            del piece  # as above
        if start < first:
            out[:, : first - start] = self._reflected(first, np.arange(start, min(stop, first)))
        if stop > last:
            out[:, max(last - start, 0) :] = self._reflected(last - 1, np.arange(max(start, last), stop))

    def _reflected(self, edge: int, wanted: Values) -> Values:
        """What samples past an edge are taken to be: the value there twice, less that of the sample as far inside."""
        sources = 2 * edge - wanted
        there = (sources >= self.span[0]) & (sources < self.span[1])
        values: Values = np.zeros((len(self.offset), len(wanted)))
        if there.any():
            lowest, highest = int(sources[there].min()), int(sources[there].max())
            inside = self.raw[:, lowest : highest + 1][0]
            values[:, there] = 2 * self.raw[:, edge : edge + 1][0] - inside[:, sources[there] - lowest]
        values -= self.offset
        return values
