"""Retrieval: rank every estimate against one candidate per unique (sentence, word_index) of a split, in bounded memory.

Défossez et al. 2023, Methods, "Evaluation": all subjects share the candidates, and candidates are those of the whole split.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from raybrain.metrics import ranks, word_ranks
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

ROWS_AT_ONCE = 256
TILE_BYTES = 128 * 2**20
Estimate = Callable[[Tensor], Tensor]  # from rows to estimates [rows features time]


@dataclass(frozen=True)
class Pool:
    """The candidates of one study in a split.

    Attributes:
        study: whose candidates.
        rows: segments to rank.
        targets: for each of them, the index of its candidate.
        stands: [candidates], a segment that shows each candidate.
        words: [candidates], a number for the word of each.
    """

    study: str
    rows: Tensor
    targets: Tensor
    stands: Tensor
    words: Tensor


def pools(tables: Tables, split: str, subjects: int | None = None) -> list[Pool]:
    """The candidates of a split, study by study: a study's are never ranked against another's.

    With ``subjects`` the split has the segments of that many subjects of each study, the first in order of their names, and
    the candidates they heard.
    """
    rows = tables.rows[split].cpu()
    if subjects is not None:
        rows = rows[_of_first_subjects(tables, rows, subjects)]
    numbers = tables.candidate.cpu()[rows]
    known = tables.meta["candidates"]
    found = []
    for study in sorted({known[number]["study"] for number in numbers.tolist()}):
        mine = torch.tensor([known[number]["study"] == study for number in numbers.tolist()])
        unique, targets = torch.unique(numbers[mine], return_inverse=True)
        first = torch.full((len(unique),), len(rows)).scatter_reduce(0, targets, torch.arange(int(mine.sum())), "amin")
        texts = [known[number]["word"].casefold() for number in unique.tolist()]
        words = {text: i for i, text in enumerate(sorted(set(texts)))}
        found.append(Pool(study, rows[mine], targets, rows[mine][first], torch.tensor([words[text] for text in texts])))
    return found


def _of_first_subjects(tables: Tables, rows: Tensor, count: int) -> Tensor:
    studies = [study for study, _ in tables.meta["subjects"]]  # in order of study and subject
    among_first = torch.tensor([number - studies.index(study) < count for number, study in enumerate(studies)])
    return among_first[tables.subject.cpu()[tables.recording.cpu()[rows]]]


def score_rows(
    learner: Learner,
    pool: Pool,
    mine: slice,
    estimate: Estimate | None = None,
) -> Iterator[Tensor]:
    """Scores of some of a pool's segments against all its candidates, [rows candidates], a few rows at a time.

    ``estimate`` stands in for the learner's own estimates.
    """
    shapes = learner.tables.shapes
    tiles = torch.split(pool.stands, max(1, TILE_BYTES // (4 * shapes.features * shapes.times)))
    kept = [learner.speech(tile) for tile in tiles] if len(tiles) == 1 else None
    for rows in torch.split(pool.rows[mine], ROWS_AT_ONCE):
        estimates = (estimate or learner.estimates)(rows)
        scores = [
            learner.model.loss.scores(estimates, kept[i] if kept else learner.speech(tile)) for i, tile in enumerate(tiles)
        ]
        yield torch.cat(scores, dim=1)


def rank_rows(
    learner: Learner,
    pool: Pool,
    mine: slice,
    estimate: Estimate | None = None,
) -> tuple[Tensor, Tensor]:
    """The rank of the true segment, and of the true word, for some of a pool's segments; 1 is best."""
    learner.model.eval()
    segment, word = [], []
    targets = iter(torch.split(pool.targets[mine], ROWS_AT_ONCE))
    with torch.no_grad():
        for scores in score_rows(learner, pool, mine, estimate):
            target = next(targets).to(scores.device)
            segment.append(ranks(scores, target).cpu())
            word.append(word_ranks(scores, target, pool.words.to(scores.device)).cpu())
    empty = torch.empty(0, dtype=torch.long)
    return torch.cat([*segment, empty]), torch.cat([*word, empty])
