"""Store: prepared data on disk, the contract between prepare and train.

::

    stores/SIGNATURE/
      manifest.json                       the data settings, counts, split audit, versions; each feature's scale and folder
      recordings.parquet                  one row per recording: subject, channels, duration, status
      brain/recording=UID/data.parquet    rows of CHUNK_S seconds of signal, time-major float32, a row group each
      events/recording=UID/data.parquet   what was heard when
      segments/recording=UID/data.parquet split, first sample, stimulus and place in it, word, sentence
      quality/recording=UID/data.parquet  one row by which people judge the recording: spectra, bad channels, alignment
      parts/UID.json                      says that all four are whole: sizes, checksums, scaler, sensor positions
      stimuli.parquet                     one row per unique stimulus
    features/NAME-SIGNATURE/
      STIMULUS.parquet                    its frames at their native rate; all stores share them

A stimulus is named by its content (audio bytes, words, times) and a feature's folder by settings, version and model, so two
stores whose subjects heard the same have the same frames, and these are extracted once.


A file is written aside and renamed, and a part counts only once its JSON is there: whatever is killed, what is seen is whole.
Damage is noticed by checksums when a file is read for a memory map; it is set aside in ``damaged/`` and made again.
"""

from raybrain.store.frames import Frames, feature_digest, feature_name, frames_folder
from raybrain.store.parts import Draft, Part, Prepared, Store, brain_digest
from raybrain.store.schema import CHUNK_S, EVENTS, QUALITY, SEGMENTS, chunk_samples, chunk_table, frames_table
from raybrain.store.split_audit import Gap, SplitAudit

__all__ = [
    "CHUNK_S",
    "EVENTS",
    "QUALITY",
    "SEGMENTS",
    "Draft",
    "Frames",
    "Gap",
    "Part",
    "Prepared",
    "SplitAudit",
    "Store",
    "brain_digest",
    "chunk_samples",
    "chunk_table",
    "feature_digest",
    "feature_name",
    "frames_folder",
    "frames_table",
]
