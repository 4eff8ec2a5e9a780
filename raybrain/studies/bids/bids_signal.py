"""Signal of a BIDS recording: the file as mne reads it, with the types, bad channels and sensor places of its sidecars.

Not a study itself. No more is read than is needed, so that a damaged table of something else does no harm; and whatever is
damaged is blamed itself.
"""

import contextlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError
from raybrain.studies.bids.bids_table import Row, read_rows, read_table
from raybrain.studies.bids.inventory import entities, suffix_of
from raybrain.studies.readers.edf_gaps import with_gaps
from raybrain.studies.readers.signal_files import check_brainvision, odd_rate, readable
from raybrain.studies.readers.standard_places import STANDARD, place_by_names

if TYPE_CHECKING:
    import mne

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
BTI_DATA = ("0", "c,rf*", "hc,rf*", "e,rf*")
BRAIN = ("eeg", "mag", "grad")
OUT_OF_USE = re.compile(r"BAD([_ ].*)?|(EDGE )?boundary")
MISC = ("MISC", "OTHER", "AUDIO", "SYSCLOCK", "ADC", "DAC", "FITERR", "REF", "PD", "PPG", "ACCEL", "GYRO", "MAGN")
FEW = 8  # electrodes: of fewer it is not known how far apart they should be
HEAD_M = (0.05, 0.5)  # from one electrode to the farthest other
STIM = "STI 014"  # a channel that mne makes up for some formats


def read_signal_file(file: Path, sidecars: Sequence[Path]) -> tuple["mne.io.BaseRaw", list[str]]:
    """The signal, not loaded, and what is odd about its sidecars.

    Args:
        file: the signal.
        sidecars: all that apply to it.

    Raises:
        InputError: if the file cannot be read to its end, or a sidecar that is needed cannot be read.
    """
    check_brainvision(file)
    with quietly():
        with readable(file):
            raw = _opened(file)
            if not 0 < raw.info["sfreq"] < np.inf:
                raise InputError(f"{file} says that it has {raw.info['sfreq']:g} Hz; get the file again")
            raw[:, raw.n_times - 1 :]  # some readers trust the header and would fail much later
            raw = with_gaps(raw, file)
        _mend_names(raw)
        remarks = _apply_channels(raw, nearest(sidecars, "channels.tsv"))
        remarks += _apply_places(raw, file, sidecars)
        about = [sidecar for sidecar in sidecars if sidecar.name.endswith(f"{suffix_of(file.name)}.json")]
        remarks += odd_rate(raw, file, about)
        _apply_line_frequency(raw, nearest(about, f"{suffix_of(file.name)}.json"))
    return raw, remarks


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No messages of mne."""
    import mne

    with warnings.catch_warnings(), mne.utils.use_log_level("error"):
        warnings.simplefilter("ignore")
        yield


def _opened(file: Path) -> "mne.io.BaseRaw":
    import mne

    if (file / "config").is_file():  # a folder of a BTi machine
        data = sorted(path for pattern in BTI_DATA for path in file.glob(pattern))
        if not data:
            raise InputError(f"{file} holds no data file ({', '.join(BTI_DATA)}); get it again")
        raw: mne.io.BaseRaw = mne.io.read_raw_bti(data[0], file / "config", None)
        return raw
    if file.suffix.lower() == ".fif":  # a link of git-annex leads to its parts too, under other names
        parts = entities(file.name).get("split")
        raw = mne.io.read_raw_fif(file if parts else file.resolve(), allow_maxshield=True)
        return raw
    raw = mne.io.read_raw(file)
    return raw


def _mend_names(raw: "mne.io.BaseRaw") -> None:
    """Names in UTF-8 that were decoded as Latin-1 are what they were."""
    mended = {}
    for name in raw.ch_names:
        with contextlib.suppress(UnicodeError):
            mended[name] = name.encode("latin-1").decode("utf-8")
    if len({mended.get(name, name) for name in raw.ch_names}) == len(raw.ch_names):
        raw.rename_channels(mended)


def mark_bad(raw: "mne.io.BaseRaw", table: Path, shift_s: float) -> None:
    """Annotate what rows of events.tsv take out of use, as mne-bids writes them; ``shift_s`` is added to their onsets."""
    import mne

    rows = [row for row in read_rows(table) if OUT_OF_USE.fullmatch(row.text("trial_type"))]
    marks = [(row.number("onset"), row.duration or 0.0, row.text("trial_type")) for row in rows]
    marks = [mark for mark in marks if mark[0] is not None and (mark[1] or not mark[2].startswith("BAD"))]
    if marks:
        onsets, durations, texts = zip(*marks, strict=True)
        known, at = raw.annotations.copy(), np.array(onsets) + shift_s
        if (
            known.orig_time is None
        ):  # without a date MNE gives times since the clock began, and takes times since the first sample
            known.onset = known.onset - raw.first_time
        else:
            at = at + raw.first_time
        more = mne.Annotations(at, durations, texts, orig_time=known.orig_time)
        with quietly():  # some may lie outside of the recording
            raw.set_annotations(known + more)


def nearest(sidecars: Sequence[Path], ending: str) -> Path | None:
    """The most specific of the sidecars of one kind."""
    files = [file for file in sidecars if file.name == ending or file.name.endswith(f"_{ending}")]
    return max(files, key=lambda file: (len(file.parts), len(entities(file.name))), default=None)


def _apply_channels(raw: "mne.io.BaseRaw", table: Path | None) -> list[str]:
    """Set types and bad channels as channels.tsv says; channels are told by name."""
    if table is None:
        return []
    rows = read_table(table, ("name",))
    listed = [row.text("name") for row in rows]
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise InputError(f"{table} lists channel {twice[0]!r} twice; leave one of these rows out")
    if STIM in raw.ch_names and STIM not in listed:
        raw.drop_channels([STIM])
    known = [row for row in rows if row.text("name") in raw.ch_names]
    if rows and not known:
        raise InputError(f"{table} lists {', '.join(listed[:3])}, ..., but the signal has {', '.join(raw.ch_names[:3])}, ...")
    brain = {*BRAIN} & set(raw.get_channel_types())
    types = {row.text("name"): kind for row in known if (kind := _type(row))}
    with readable(table, "correct its column type"):
        raw.set_channel_types(types, on_unit_change="ignore")
    if brain and not {*BRAIN} & set(raw.get_channel_types()):
        kinds = ", ".join(sorted({row.text("type") for row in known}))
        raise InputError(f"{table} says that no channel is of type EEG or MEG (its types: {kinds}); correct its column type")
    if rows and "status" in rows[0].values:
        raw.info["bads"] = [row.text("name") for row in known if row.text("status").lower() == "bad"]
    return list(_odd_channels(raw, table, rows))


def _odd_channels(raw: "mne.io.BaseRaw", table: Path, rows: Sequence[Row]) -> Iterator[str]:
    """What is odd about a channels.tsv."""
    unknown = [row.text("name") for row in rows if row.text("name") not in raw.ch_names]
    if unknown:
        yield f"{table.name} lists {len(unknown)} channels that the signal does not have ({unknown[0]})"
    kinds = sorted({row.text("type") for row in rows if _type(row) == "misc" and row.text("type").upper() not in MISC})
    if kinds:
        yield f"{table.name} gives channels types that are not known and left out: {', '.join(kinds[:5])}"
    states = sorted({row.text("status") for row in rows} - {""})
    odd = [state for state in states if state.lower() not in ("good", "bad")]
    if odd:
        yield f"{table.name} gives channels a status that is neither good nor bad and counts as good: {', '.join(odd[:5])}"


def _type(row: Row) -> str:
    """Mne's name of a channel's type; empty for MEG, whose kinds of sensors the file knows better."""
    from mne_bids.utils import _get_ch_type_mapping

    named = row.text("type").upper()
    if not named or named.startswith("MEG") or named == "HLU":
        return ""
    return str(_get_ch_type_mapping(fro="bids", to="mne").get(named, "misc"))


def _apply_places(raw: "mne.io.BaseRaw", file: Path, sidecars: Sequence[Path]) -> list[str]:
    """Set where electrodes lie: as electrodes.tsv says, else by their names."""
    import mne

    tables = [path for path in sidecars if path.name.endswith("electrodes.tsv")]
    reasons: list[str] = []
    for table in sorted(tables, key=lambda path: (-len(path.parts), "CapTrak" not in path.name, path.name)):
        montage, reason = _montage(raw, table, sidecars, suffix_of(file.name))
        reasons += [reason] if reason else []
        if montage is not None:
            with readable(table, "correct its columns x, y and z"):
                raw.set_montage(montage, on_missing="ignore")
            others = f", not {tables[0].name if tables[1] == table else tables[1].name}" if len(tables) > 1 else ""
            reasons += [f"electrodes are placed by {table.name}{others}"] if others else []
            break
    eeg = [raw.info["chs"][pick] for pick in mne.pick_types(raw.info, eeg=True, exclude=())]
    if not eeg or any(np.isfinite(channel["loc"][:3]).all() and channel["loc"][:3].any() for channel in eeg):
        return reasons
    placed = place_by_names(raw)
    why = "; ".join(reasons) or f"there is no electrodes.tsv of {file.name}"
    if not placed:
        return [f"{why}, and no channel has a name of the {STANDARD}: the places of all electrodes are unknown"]
    return [f"{why}: {placed} of {len(eeg)} electrodes are placed by their names in the {STANDARD}"]


def _montage(raw: "mne.io.BaseRaw", table: Path, sidecars: Sequence[Path], datatype: str) -> tuple[Any, str]:
    """The places in an electrodes.tsv, for mne, and what is odd about them; or None and why they cannot be used."""
    import mne
    from mne_bids.config import BIDS_TO_MNE_FRAMES
    from mne_bids.dig import _ensure_fiducials_ctf_head

    space = entities(table.name).get("space")
    systems = [path for path in sidecars if path.name.endswith("coordsystem.json")]
    systems = [path for path in systems if entities(path.name).get("space") == space] or systems
    system = nearest(systems, "coordsystem.json")
    if system is None:
        return None, f"{table.name} has no coordsystem.json"
    content = _json(system)
    frame, unit = (content.get(f"{datatype.upper()}Coordinate{what}") for what in ("System", "Units"))
    places = _places(table)
    if not places:
        return None, f"{table.name} gives no places"
    if not set(places) & set(raw.ch_names):
        return None, f"{table.name} has other names ({next(iter(places))}) than the signal ({raw.ch_names[0]})"
    if len(places) > 1 and len(set(map(tuple, places.values()))) == 1:
        return None, f"{table.name} gives all electrodes the same place"
    if frame not in BIDS_TO_MNE_FRAMES and frame != "Other":
        return None, f"{system.name} names the coordinate system {frame!r}, which is not known"
    if unit not in METRES:
        largest = np.abs(list(places.values())).max()
        unit = "m" if largest < 1 else "cm" if largest < 100 else "mm"
    scaled = {name: np.array(place) * METRES[str(unit)] for name, place in places.items()}
    montage = mne.channels.make_dig_montage(scaled, coord_frame=BIDS_TO_MNE_FRAMES.get(frame, "unknown"))
    if BIDS_TO_MNE_FRAMES.get(frame) == "ctf_head":
        _ensure_fiducials_ctf_head(montage)
    size = max(np.ptp(list(scaled.values()), axis=0))
    if len(scaled) >= FEW and not HEAD_M[0] <= size <= HEAD_M[1]:
        return montage, f"the electrodes of {table.name} lie up to {size:.3g} m apart: is the unit of {system.name} right?"
    return montage, ""


def _places(table: Path) -> dict[str, list[float]]:
    """The places that a table gives, by electrode; those that are n/a are left out."""
    places = {}
    for row in read_table(table, ("name", "x", "y", "z")):
        place = [row.number(axis) for axis in "xyz"]
        if all(number is not None for number in place):
            places[row.text("name")] = [float(number or 0.0) for number in place]
    return {name: place for name, place in places.items() if any(place)}  # at the origin there is none


def _apply_line_frequency(raw: "mne.io.BaseRaw", sidecar: Path | None) -> None:
    """Set the frequency of the mains, if the sidecar gives it; steps may ask for it."""
    with contextlib.suppress(InputError):  # what else is in it is not needed
        hertz = _json(sidecar).get("PowerLineFrequency") if sidecar else None
        if isinstance(hertz, int | float) and hertz > 0:
            raw.info["line_freq"] = hertz


def _json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    return content if isinstance(content, dict) else {}
