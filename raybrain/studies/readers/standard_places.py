"""Standard places: where electrodes lie by their names, for recordings that do not say. Not a study itself.

The places are those of the 10-05 system, which holds the 10-20 and 10-10 systems.
"""

from typing import TYPE_CHECKING

import numpy as np

from raybrain.recording import channel_key

if TYPE_CHECKING:
    import mne

STANDARD = "10-05 system"


def place_by_names(raw: "mne.io.BaseRaw") -> int:
    """Put each EEG channel whose name is one of the 10-05 system in its place; how many there are.

    A name may be written in any case, with the word EEG before it, a reference after it ("EEG Fz-REF") or dots ("Fc5.").
    """
    import mne

    standard = mne.channels.make_standard_montage("colin27_1005").get_positions()
    by_name = {name.lower(): place for name, place in standard["ch_pos"].items()}
    places: dict[str, np.ndarray] = {}
    taken: set[str] = set()
    for name in np.array(raw.ch_names)[mne.pick_types(raw.info, eeg=True, exclude=())].tolist():
        plain = channel_key(name)
        if plain in by_name and plain not in taken:
            places[name] = by_name[plain]
            taken.add(plain)
    if places:
        landmarks = {landmark: standard[landmark] for landmark in ("nasion", "lpa", "rpa")}
        montage = mne.channels.make_dig_montage(places, coord_frame=standard["coord_frame"], **landmarks)
        raw.set_montage(montage, on_missing="ignore")
    return len(places)
