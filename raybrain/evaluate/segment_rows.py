"""Segment rows: one row of a table for each test segment, with its rank and what stands first in place of the truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from raybrain.evaluate.attribution import COUNTED, KINDS, Columns, kind_counts, kinds_of
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import ROWS_AT_ONCE, Ranked, rank_rows
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

PLACE = ["recording", "sentence", "word_index"]
COLUMNS = ("predicted", "margin", "kind", *COUNTED)  # that ranks of earlier versions do not have


def share_of(pool: Pool, shard: int, shards: int) -> slice:
    """The segments of a pool that one of ``shards`` processes ranks: whole lots, so that nothing depends on their number."""
    lots = -(-len(pool.rows) // ROWS_AT_ONCE)
    first, last = (number * lots // shards * ROWS_AT_ONCE for number in (shard, shard + 1))
    return slice(first, last)


def segment_rows(learner: Learner, pools: Sequence[Pool], shard: int = 0, shards: int = 1) -> pd.DataFrame:
    """A row for each segment that one of ``shards`` processes ranks.

    Columns: study, subject, recording, sentence, word_index, word; ``rank`` of the true one among ``candidates`` and
    ``word_rank`` among ``words``; the first candidate as ``predicted_sentence``, ``predicted_index`` and ``predicted`` word,
    ``margin`` before (or behind) the best other one, and ``kind``: how it relates to the true one, with the number of
    candidates that relate like that; and further measures of the task.

    Raises:
        InputError: if an estimate is not finite.
    """
    frames = [_pool_rows(learner, pool, share_of(pool, shard, shards)) for pool in pools]
    return pd.concat(frames)


def _pool_rows(learner: Learner, pool: Pool, mine: slice) -> pd.DataFrame:
    tables, ranked = learner.tables, rank_rows(learner, pool, mine)
    rows, targets = pool.rows[mine], pool.targets[mine].numpy()
    recording = tables.recording.cpu()[rows].tolist()
    subjects = [tables.meta["subjects"][index] for index in tables.subject.cpu()[recording].tolist()]
    known = [tables.meta["candidates"][number] for number in tables.candidate.cpu()[rows].tolist()]
    columns: dict[str, Any] = {
        "study": pool.study,
        "subject": [subject for _, subject in subjects],
        "recording": [tables.meta["recordings"][index] for index in recording],
        **{key: [item[key] for item in known] for key in ("sentence", "word_index", "word")},
        "rank": ranked.segment.numpy(),
        "candidates": len(pool.stands),
        "word_rank": ranked.word.numpy(),
        "words": int(pool.words.max()) + 1,
        **_first(tables, pool, targets, ranked),
        **{name: values.numpy() for name, values in ranked.measures.items()},
    }
    return pd.DataFrame(columns)


def _first(tables: Tables, pool: Pool, targets: np.ndarray, ranked: Ranked) -> dict[str, Any]:
    """What stands first, and how it relates to the truth."""
    known = [tables.meta["candidates"][number] for number in tables.candidate.cpu()[pool.stands].tolist()]
    candidates, length_s = candidate_columns(tables, pool), tables.window.samples / tables.window.rate_hz
    first = ranked.predicted.numpy()
    named = [known[number] for number in first.tolist()]
    truth, other = ({name: values[some] for name, values in candidates.items()} for some in (targets, first))
    counts = kind_counts(candidates, length_s)[targets]
    names = np.array(list(KINDS))
    return {
        "predicted": [item["word"] for item in named],
        "predicted_sentence": [item["sentence"] for item in named],
        "predicted_index": [item["word_index"] for item in named],
        "margin": ranked.margin.numpy(),
        "kind": names[kinds_of(truth, other, length_s)],
        **{kind: counts[:, list(KINDS).index(kind)] for kind in COUNTED},
    }


def candidate_columns(tables: Tables, pool: Pool) -> Columns:
    """Of the candidates of a pool, numbers for candidate, stimulus and sentence, and the second at which it begins there."""
    known = [tables.meta["candidates"][number] for number in tables.candidate.cpu()[pool.stands].tolist()]
    stimulus, second = tables.heard(pool.stands)
    _, sentence = np.unique([item["sentence"] for item in known], return_inverse=True)
    number = torch.arange(len(pool.stands))
    return {"number": number.numpy(), "stimulus": stimulus.numpy(), "second": second.numpy(), "sentence": sentence}
