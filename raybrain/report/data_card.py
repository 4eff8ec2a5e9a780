"""Data card: what a result was computed from: recordings, what was left out and why, sizes of the splits, the split audit."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from raybrain.bucket.copies import folders_in
from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.plain import tree
from raybrain.report.terminal import audit_line, leak_lines
from raybrain.storage import content_digest
from raybrain.store import Part, SplitAudit, Store, brain_digest, feature_digest, feature_name
from raybrain.train.record import RunRecord

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DataCard:
    """What a result was computed from.

    Attributes:
        studies: one row of texts per study, under ``HEAD``, and one for all if there are several.
        left_out: recordings that are not in the data, each with the reason.
        audit: what stands in two splits, in a line.
        clean: whether nothing does.
        store: where they are.
    """

    studies: list[list[str]]
    left_out: list[list[str]]
    audit: str
    clean: bool
    store: str


HEAD = ["study", "people", "recordings", "hours", "sensors (usable)", "Hz", *(f"{split} segments" for split in SPLITS)]


def data_card(store: Store, audit: SplitAudit) -> DataCard:
    """The card of the data in a store."""
    manifest = store.manifest
    rate_hz = float(manifest["data"]["signal"]["rate_hz"])
    parts = [part for uid in sorted(manifest["sources"]) if (part := store.written(uid)) and uid not in manifest["failed"]]
    studies = sorted({part.study for part in parts})
    rows = [_row(study, [part for part in parts if part.study == study], rate_hz) for study in studies]
    if len(rows) > 1:
        rows.append(_row("all", parts, rate_hz))
    left_out = {**manifest["failed"], **manifest.get("left_out", {})}
    return DataCard(
        studies=rows,
        left_out=[[name, reason] for name, reason in sorted(left_out.items())],
        audit=audit_line(audit),
        clean=not leak_lines(audit.leaks),
        store=str(store.root),
    )


def store_of(record: RunRecord, experiment: Experiment) -> Store | None:
    """The store that a run was trained on, if it is still in its home; another version of the code may have made it."""
    result = record.result()
    content = {key: value for key, value in tree(experiment.data).items() if key != "features"}
    names = [feature_name(feature) for feature in experiment.data.features]
    for root in folders_in(record.home / "stores", without=(".parquet",)):
        with suppress(InputError, KeyError):
            store = Store(root)
            if store.manifest["data"] == content and result and _digest(store, names) == result.digest:
                return store
    return None


def _digest(store: Store, names: Sequence[str]) -> str:
    """What names the content that training reads, as prepare says it."""
    manifest = store.manifest
    uids = sorted(set(manifest["sources"]) - set(manifest["failed"]))
    parts = [part for uid in uids if (part := store.written(uid))]
    features = [(name, feature_digest(name, manifest["features"][name])) for name in names]
    return content_digest([brain_digest(parts), *features])


def _row(name: str, parts: Iterable[Part], rate_hz: float) -> list[str]:
    parts = list(parts)
    hours = sum(part.samples for part in parts) / rate_hz / 3600
    sensors = _span(len(part.channels) for part in parts)
    usable = _span(sum(part.valid) for part in parts)
    people = {(part.study, part.subject) for part in parts}
    sizes = [str(sum(part.segments.get(split, 0) for part in parts)) for split in SPLITS]
    return [name, str(len(people)), str(len(parts)), f"{hours:.2f}", f"{sensors} ({usable})", f"{rate_hz:g}", *sizes]


def _span(numbers: Iterable[int]) -> str:
    values = sorted(set(numbers))
    return "-".join(str(value) for value in dict.fromkeys((values[0], values[-1])))
