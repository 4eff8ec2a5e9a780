"""Convolve: FIR filters of zero phase, block by block, with what mne gives for the whole recording.

Overlap-save: a block and half a filter on either side are transformed, multiplied and transformed back. See Oppenheim and
Schafer, "Discrete-Time Signal Processing", section 8.7. What is in memory does not depend on the length of a recording: five
times as many samples as the filter has taps, of each channel (0.14 GiB for 208 channels and the 33 s of highpass:0.1 at 1 kHz).
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from raybrain.signal.chunked import Blocks, Forward, Values, block_length, chunked

if TYPE_CHECKING:
    import mne

SHORTEST = 16_384  # samples that are transformed at once
TOGETHER = 16  # channels
SKIPPED = ("edge", "bad_acq_skip")  # what mne does not filter across


def filtered(raw: "mne.io.BaseRaw", taps: Values, info: "mne.Info | None" = None, dtype: type = np.float32) -> "mne.io.BaseRaw":
    """The recording, convolved with a filter that is symmetrical; what lies on both sides of a skip is filtered by itself.

    Args:
        raw: the recording.
        taps: of the filter, an odd number of them.
        info: of the result, if it is to be another.
        dtype: of the arithmetic.
    """
    return chunked(_Filtered(raw, np.asarray(taps), dtype), info or raw.info)


def band_passed(raw: "mne.io.BaseRaw", low_hz: float | None, high_hz: float | None) -> "mne.io.BaseRaw":
    """What lies between two frequencies, by the FIR filter that mne designs for them; None for no limit."""
    import mne

    taps = mne.filter.create_filter(None, raw.info["sfreq"], low_hz, high_hz)
    info = raw.info.copy()
    with info._unlock():
        info["highpass"] = max(info["highpass"], low_hz or 0.0)
        info["lowpass"] = min(info["lowpass"], high_hz or info["lowpass"])
    return filtered(raw, taps, info)


class _Filtered(Blocks):
    """Blocks of a filtered recording.

    A long filter is worth long stretches that are transformed at once, as much is done twice at their edges: these are kept in
    the precision of the arithmetic, and only blocks in double precision.

    Attributes:
        stretch: samples of the result that one transform gives.
    """

    def __init__(self, raw: "mne.io.BaseRaw", taps: Values, dtype: type) -> None:
        from scipy import fft

        assert len(taps) % 2, "a filter of zero phase has an odd number of taps"
        whole = min(max(3 * len(taps), SHORTEST), raw.n_times + len(taps) - 1)
        self.transformed = fft.next_fast_len(max(whole, len(taps)), real=True)
        self.stretch, channels = self.transformed - len(taps) + 1, len(raw.ch_names)
        super().__init__(raw, channels, raw.n_times, min(self.stretch, block_length(channels)))
        self.half, self.gain = len(taps) // 2, float(taps.sum())
        self.response = fft.rfft(taps, self.transformed).astype(np.result_type(dtype, np.complex64))
        self.spans = [Forward(raw, span, dtype) for span in _spans(raw)]
        self._number, self._convolved = -1, list[tuple[int, Values, Values]]()

    def compute(self, start: int, stop: int) -> Values:
        whole = len(self.spans) == 1 and self.spans[0].span == (0, self.samples)
        result = np.empty((self.channels, stop - start)) if whole else self.raw[:, start:stop][0].copy()
        for number in range(start // self.stretch, (stop - 1) // self.stretch + 1):
            for begin, values, constant in self._stretch(number):
                first, last = max(start, begin), min(stop, begin + values.shape[1])
                if first < last:
                    np.add(values[:, first - begin : last - begin], constant, out=result[:, first - start : last - start])
        return result

    def _stretch(self, number: int) -> list[tuple[int, Values, Values]]:
        """What one transform gives: where each of its pieces begins, the piece, and what is to be added to it."""
        if self._number != number:
            self._number, self._convolved = -1, []  # so that there are never two
            start, stop = number * self.stretch, min((number + 1) * self.stretch, self.samples)
            for forward in self.spans:
                begin, end = max(start, forward.span[0]), min(stop, forward.span[1])
                if begin < end:
                    self._convolved.append((begin, self._convolve(forward, begin, end), self.gain * forward.offset))
            self._number = number
        return self._convolved

    def _convolve(self, forward: Forward, begin: int, end: int) -> Values:
        from scipy import fft

        signal = forward.take(begin - self.half, end + self.half)
        result: Values = np.empty((self.channels, end - begin), signal.dtype)
        for first in range(0, self.channels, TOGETHER):
            some = slice(first, first + TOGETHER)
            spectrum = fft.rfft(signal[some], self.transformed)
            spectrum *= self.response
            result[some] = fft.irfft(spectrum, self.transformed)[:, 2 * self.half : 2 * self.half + end - begin]
        return result


def _spans(raw: "mne.io.BaseRaw") -> list[tuple[int, int]]:
    """The stretches of a recording that no skip divides, in samples."""
    inside, seams = np.ones(raw.n_times, dtype=bool), {0, raw.n_times}
    for annotation in raw.annotations:
        if str(annotation["description"]).lower().startswith(SKIPPED):
            onset = float(annotation["onset"]) - raw.first_time
            start, stop = raw.time_as_index([onset, onset + float(annotation["duration"])], use_rounding=True)
            inside[max(start, 0) : max(stop, 0)] = False
            seams |= {int(start), int(stop)}
    places = sorted(seam for seam in seams if 0 <= seam <= raw.n_times)
    return [(start, stop) for start, stop in pairwise(places) if inside[start]]
