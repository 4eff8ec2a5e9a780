"""Small copies of studies in their exact form on disk, for tests to write: sounds, TextGrids, CTF recordings."""

import os
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Study
from tests.conftest import SHARED
from tests.two_steps import own_copy

CTF = SHARED / "data" / "ctf275" / "testdata_ctf_short_discontinuous.ds"
CTF_HZ = 1200
Interval = tuple[float, float, str]


def write_wav(path: Path, seconds: float, rate: int = 16_000, channels: int = 1) -> None:
    """Noise that comes and goes four times a second; another one for each name, or all would be one stretch of audio."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(list(path.stem.encode())).standard_normal(len(times))
    wave = 0.1 * noise * (1 + np.sin(2 * np.pi * 4 * times))
    soundfile.write(path, np.column_stack([wave] * channels), rate)


def write_textgrid(path: Path, seconds: float, tiers: Mapping[str, Sequence[Interval]]) -> None:
    """A TextGrid in Praat's long form; what is not said is an interval with an empty label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds}", "tiers? <exists>"]
    lines += [f"size = {len(tiers)}", "item []:"]
    for number, (name, said) in enumerate(tiers.items(), start=1):
        full: list[Interval] = []
        at = 0.0
        for start, stop, label in said:
            full += [(at, start, "")] if start > at + 1e-9 else []
            full.append((start, stop, label))
            at = stop
        full += [(at, seconds, "")] if seconds > at + 1e-9 else []
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0"]
        lines += [f"        xmax = {seconds}", f"        intervals: size = {len(full)}"]
        for place, (start, stop, label) in enumerate(full, start=1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{place}]:", f"            xmin = {start}", f"            xmax = {stop}"]
            lines += [f'            text = "{quoted}"']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_ctf(folder: Path, seconds: float, triggers: Sequence[tuple[float, int]], pulse_s: float = 0.01) -> None:
    """A real recording of two seconds, repeated trial by trial to last longer, with other triggers on UPPT001."""
    import mne

    folder.mkdir(parents=True)
    for path in CTF.iterdir():
        if path.suffix != ".meg4":
            shutil.copy(path, folder / path.name.replace(CTF.stem, folder.stem))
            os.chmod(folder / path.name.replace(CTF.stem, folder.stem), 0o644)
    header = folder / f"{folder.stem}.res4"
    content = bytearray(header.read_bytes())
    samples, channels = struct.unpack(">ih", content[1288:1294])
    trial = np.fromfile(CTF / f"{CTF.stem}.meg4", ">i4", offset=8).reshape(-1, channels, samples)[0]
    trials = int(np.ceil(seconds * CTF_HZ / samples))
    content[1312:1314] = struct.pack(">h", trials)
    header.write_bytes(bytes(content))
    channel = mne.io.read_raw_ctf(CTF, verbose="error").ch_names.index("UPPT001")
    sent = np.zeros(trials * samples, dtype=">i4")
    for start, value in triggers:
        first = round(start * CTF_HZ)
        sent[first : first + max(1, round(pulse_s * CTF_HZ))] = value
    with (folder / f"{folder.stem}.meg4").open("wb") as file:
        file.write(b"MEG41CP\0")
        for number in range(trials):
            trial[channel] = sent[number * samples : (number + 1) * samples]
            file.write(trial.tobytes())


def link_copy(folder: Path, study: Study, home: Path) -> None:
    """Let ``home`` have ``folder`` as a copy of ``study`` of its own."""
    root = own_copy(study, home)
    root.rmdir()
    root.symlink_to(folder)


class FactsOnly(Study):
    """A study that is not here, and of which only the facts are known."""

    def recordings(self, root: Path) -> list[Recording]:
        return []

    def raw(self, root: Path, recording: Recording) -> Any:
        raise AssertionError("there is none")

    def events(self, root: Path, recording: Recording) -> list[Event]:
        raise AssertionError("there are none")


def of(events: Sequence[Event], kind: type[Any]) -> list[Any]:
    """The events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def one_line(call: Callable[[], object], *parts: str) -> None:
    """A call is refused in one line that holds all ``parts``."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
