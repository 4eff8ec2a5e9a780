"""Schema: the columns of a store's tables, and signal and frames as rows."""

import zlib

import numpy as np
import pyarrow as pa

CHUNK_S = 10.0
CHECKSUM = b"raybrain.checksum"
BRAIN = pa.schema(
    [
        ("start_sample", pa.int64()),
        ("samples", pa.int32()),
        ("signal", pa.list_(pa.float32())),  # [samples channels], flat
    ]
)
SEGMENTS = pa.schema(
    [
        ("split", pa.string()),
        ("anchor", pa.string()),  # "grid" or "word"
        ("start_sample", pa.int64()),  # of the window, in samples of the recording
        ("stimulus", pa.string()),
        ("stimulus_s", pa.float64()),  # time of the window's first sample in its stimulus
        ("sentence", pa.string()),
        ("word_index", pa.int32()),
        ("word", pa.string()),
    ]
)
EVENTS = pa.schema(
    [
        ("kind", pa.string()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("text", pa.string()),
        ("sentence", pa.string()),
        ("word_index", pa.int32()),
        ("offset_s", pa.float64()),  # of a sound: seconds of the file before it
        ("speed", pa.float64()),  # of a sound: seconds of the file in a second of the recording
        ("language", pa.string()),
    ]
)


QUALITY = pa.schema(  # one row per recording
    [
        ("seconds", pa.float64()),
        ("recorded_hz", pa.float64()),  # of the recording before its steps
        (
            "channels",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("kind", pa.string()),
                        ("deviation", pa.float64()),  # standard deviation in the median stretch, in V, T or T/m
                        ("deviation_after", pa.float64()),
                        ("state", pa.string()),  # good, odd, mended, bad or left out
                        ("reason", pa.string()),
                        ("response", pa.float32()),  # correlation with what is heard, at the lag of the highest response
                    ]
                )
            ),
        ),
        (
            "spectra",  # over good channels: quartiles, in the unit of the channels per root Hz
            pa.list_(
                pa.struct(
                    [("stage", pa.string()), ("kind", pa.string())]
                    + [(name, pa.list_(pa.float64())) for name in ("hz", "low", "middle", "high")]
                )
            ),
        ),
        ("line_hz", pa.float64()),
        ("line_db_before", pa.float64()),  # the power line above the frequencies beside it
        ("line_db_after", pa.float64()),
        ("stretches", pa.list_(pa.struct([("start_s", pa.float64()), ("stop_s", pa.float64()), ("why", pa.string())]))),
        ("windows", pa.int64()),
        ("lost_windows_s", pa.list_(pa.float64())),
        (
            "alignment",
            pa.list_(
                pa.struct(
                    [("what", pa.string())]
                    + [(name, pa.list_(pa.float64())) for name in ("lags_s", "response")]
                    + [(name, pa.float64()) for name in ("low", "high", "limit", "peak", "peak_s", "deviations")]
                )
            ),
        ),
        (
            "components",  # that steps took off: what each channel saw of them, in its unit
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("reason", pa.string()),
                        ("channels", pa.list_(pa.string())),
                        ("weights", pa.list_(pa.float64())),
                    ]
                )
            ),
        ),
        ("minute_s", pa.float64()),  # where a minute of sound begins that pages show
        ("minute_hz", pa.float64()),
        ("minute", pa.list_(pa.float32())),  # its amplitude
        ("remarks", pa.list_(pa.string())),
    ]
)


def chunk_samples(rate_hz: float) -> int:
    """Samples of a chunk of continuous signal: CHUNK_S seconds."""
    return max(1, round(CHUNK_S * rate_hz))


def chunk_table(signal: np.ndarray, rate_hz: float, first: int = 0) -> pa.Table:
    """Continuous signal [samples channels] that begins at sample ``first``, as rows of CHUNK_S seconds."""
    step, (samples, channels) = chunk_samples(rate_hz), signal.shape
    edges = np.append(np.arange(0, samples, step), samples)
    values = pa.array(np.ascontiguousarray(signal, dtype=np.float32).ravel())  # not copied
    columns = [
        pa.array(first + edges[:-1], pa.int64()),
        pa.array(np.diff(edges), pa.int32()),
        pa.ListArray.from_arrays(pa.array(edges * channels, pa.int32()), values),
    ]
    return pa.table(columns, schema=BRAIN)


def frames_table(stimulus: str, frames: np.ndarray) -> pa.Table:
    """The frames of a stimulus, [frames size], as one row, with a checksum among its notes."""
    values = pa.array([frames.ravel()], pa.list_(pa.from_numpy_dtype(frames.dtype)))
    count, size = (pa.array([number], pa.int32()) for number in frames.shape)
    table = pa.table({"stimulus": [stimulus], "count": count, "size": size, "frames": values})
    return table.replace_schema_metadata({CHECKSUM: frames_checksum(stimulus, frames)})


def frames_checksum(stimulus: str, frames: np.ndarray) -> str:
    """The CRC-32 of frames in the type they are stored in, and of all that is said of them."""
    named = zlib.crc32(f"{stimulus} {frames.shape} {frames.dtype}".encode())
    return f"{zlib.crc32(frames.tobytes(), named):08x}"
