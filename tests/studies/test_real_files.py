"""What the files of real BIDS folders are like: one row per case. Nothing vanishes, and the right file is named."""

# ruff: noqa: E501  (a row per case)

import re
import shutil
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.events import Word
from raybrain.prepare.survey import survey_study
from raybrain.studies.bids import Bids
from raybrain.studies.dataset import title
from tests.studies.bent import (
    BOTH,
    GRID,
    NAMES,
    SECOND,
    WORDS,
    Bend,
    bend_events,
    bend_places,
    checked,
    dangling,
    expect,
    header,
    lines,
    rename,
    replace,
    split_meg,
    textgrid,
    to_bytes,
    used,
    write_brainvision,
    write_epochs,
    write_subject,
)

OPENING = ("open", "os.listdir", "os.scandir")

# case, what is bent, which recordings are used, a line that is said (none: nothing is)
CASES: list[tuple[str, Bend, list[str], str]] = [
    ("as it should be", lambda root: None, BOTH, ""),
    # 1. nothing vanishes
    ("annex link", lambda root: dangling(header(root)), SECOND, r"sub-01/eeg/sub-01_task-story_eeg.vhdr is a link .*datalad get sub-01/eeg/sub-01_task-story_eeg.vhdr"),
    ("annex link of the data", lambda root: dangling(header(root).with_suffix(".eeg")), BOTH, r"01: .*_eeg.eeg is a link to content that is not here; type datalad get"),
    ("unlocked annex pointer", lambda root: to_bytes(header(root), b"/annex/objects/SHA256E-s1--00.vhdr\n"), SECOND, r"_eeg.vhdr stands for content that is not here; type datalad get"),
    ("git-lfs pointer", lambda root: to_bytes(header(root).with_suffix(".eeg"), b"version https://git-lfs.github.com/spec/v1\noid"), BOTH, r"_eeg.eeg stands for content .* type git lfs pull"),
    ("empty file", lambda root: to_bytes(header(root), b""), SECOND, r"_eeg.vhdr is empty; get the file again"),
    ("annex link in a folder", lambda root: ((root / "sub-03/meg/sub-03_task-x_meg.ds").mkdir(parents=True), dangling(root / "sub-03/meg/sub-03_task-x_meg.ds/x.meg4")), BOTH, r"sub-03/meg/sub-03_task-x_meg.ds holds x.meg4, which is a link"),
    ("first part missing", lambda root: split_meg(root, "01"), BOTH, r"split-02_meg.fif is a later part .* first part sub-03_task-story_split-01_meg.fif is missing"),
    ("middle part missing", lambda root: split_meg(root, "02"), BOTH, r"sub-03_task-story_split-03_meg.fif is part of a recording without its split-2"),
    ("entities in another order", lambda root: rename(root, "task-story", "run-1_task-story"), ["sub-01_task-story_run-1", *SECOND], ""),
    ("unknown entity", lambda root: rename(root, "task-story", "cond-a_task-story"), BOTH, ""),
    ("hyphen in a label", lambda root: rename(root, "task-story", "task-long-story"), ["sub-01_task-long-story", *SECOND], ""),
    ("underscore in a label", lambda root: rename(root, "sub-01_task", "sub-S_01_task"), SECOND, r"sub-S_01_task-story_eeg.vhdr has '01' in its name, which is not KEY-LABEL"),
    ("capital Sub-", lambda root: ((root / "sub-01").rename(root / "Sub-01"), header(root).parent), SECOND, r"Sub-01/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in Sub-01/eeg"),
    ("capital Sub- in names", lambda root: rename(root, "sub-01", "Sub-01"), SECOND, r"Sub-01_task-story_eeg.vhdr is called Sub-...; rename it"),
    ("sub twice", lambda root: rename(root, "task-story", "sub-01_task-story"), SECOND, r"has sub- twice in its name"),
    *(
        (f"format {ending}", lambda root, ending=ending: to_bytes(root / f"sub-03/eeg/sub-03_task-story_eeg{ending}", b"x" * 2000), BOTH, rf"sub-03_task-story_eeg\{ending} is in the format \{ending}, which is not read; convert it")
        for ending in (".gdf", ".cnt", ".mff", ".xdf", ".cdt")
    ),
    ("packed", lambda root: to_bytes(root / "sub-03/meg/sub-03_task-story_meg.fif.gz", b"x" * 2000), BOTH, r"sub-03_task-story_meg.fif.gz is packed.* gunzip sub-03_task-story_meg.fif.gz"),
    ("packed header", lambda root: header(root).rename(f"{header(root)}.gz"), SECOND, r"_eeg.vhdr.gz is packed"),
    ("upper case", lambda root: to_bytes(root / "sub-03/eeg/sub-03_task-story_eeg.BDF", b"x" * 2000), [*BOTH, "sub-03_task-story"], r"03: .*_eeg.BDF cannot be read"),
    ("not in eeg", lambda root: [file.rename(root / "sub-01" / file.name) for file in (root / "sub-01" / "eeg").iterdir()], SECOND, r"sub-01/sub-01_task-story_eeg.vhdr lies in sub-01, not in a folder eeg or meg; move it to sub-01/eeg"),
    ("in the top folder", lambda root: [file.rename(root / file.name) for file in (root / "sub-01" / "eeg").iterdir()], SECOND, r"^sub-01_task-story_eeg.vhdr is called sub-01 but lies in the top folder"),
    ("folder of another name", lambda root: (root / "sub-01").rename(root / "S01"), SECOND, r"S01/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in S01/eeg"),
    ("no suffix", lambda root: rename(root, "story_eeg", "story"), SECOND, r"sub-01_task-story.vhdr has a name that ends in _task-story"),
    ("events without data", lambda root: [file.unlink() for file in (root / "sub-01/eeg").glob("*_eeg.*")], SECOND, r"sub-01_task-story_events.tsv lists events, but there is no signal file"),
    ("data without header", lambda root: header(root).unlink(), SECOND, r"sub-01_task-story_eeg.eeg holds the data of a recording without its header sub-01_task-story_eeg.vhdr"),
    ("empty subject", lambda root: (root / "sub-03").mkdir(), BOTH, r"sub-03 holds no EEG or MEG recording \(no files\)"),
    ("a link to a folder that is not here", lambda root: (shutil.rmtree(root / "sub-01"), (root / "sub-01").symlink_to("../nowhere")), SECOND, r"^sub-01 is a link to content that is not here; type datalad get sub-01"),
    ("a file in place of a subject", lambda root: to_bytes(root / "sub-03", b"x"), BOTH, r"^sub-03 is a file, not the folder of a subject"),
    *(
        (f"format {ending} beside another", lambda root, ending=ending: to_bytes(root / f"sub-01/eeg/sub-01_task-other_eeg{ending}", b"x" * 2000), BOTH, rf"sub-01_task-other_eeg\{ending} is in the format \{ending}, which is not read")
        for ending in (".mat", ".npy", ".h5", ".zip")
    ),
    ("a copy of a subject", lambda root: shutil.copytree(root / "sub-01", root / "sub-01 - Copy"), BOTH, r"is called sub-01 but lies in sub-01 - Copy/eeg; rename what is in sub-01 - Copy for a subject of its own"),
    ("a copy of a file", lambda root: shutil.copy(header(root), header(root).with_name("sub-01_task-story_eeg - Copy.vhdr")), BOTH, r"has a name that ends in _eeg - Copy; rename it"),
    ("a dataset in a dataset", lambda root: shutil.copytree(root / "sub-01", root / "raw/sub-01"), BOTH, r"raw/sub-01/eeg/sub-01_task-story_eeg.vhdr lies in raw/sub-01/eeg; if raw is a dataset of its own, type the path of that folder"),
    ("a space in a label", lambda root: rename(root, "task-story", "task-my story"), SECOND, r"has 'task-my story' in its name, which is not KEY-LABEL"),
    ("EEG in capitals", lambda root: (root / "sub-01/eeg").rename(root / "sub-01/EEG"), SECOND, r"lies in sub-01/EEG, not in a folder eeg or meg; move it to sub-01/eeg"),
    ("hidden files of a Mac", lambda root: to_bytes(header(root).with_name("._sub-01_task-story_eeg.vhdr"), b"x"), BOTH, ""),
    ("events of another form", lambda root: (file := header(root).with_name("sub-01_task-story_events.tsv")).rename(file.with_suffix(".csv")), BOTH, r"01: no \S*sub-01_task-story_events.tsv \(sub-01_task-story_events.csv is there"),
    ("no word", lambda root: bend_events(root, lambda text: "\n".join(text.split("\n")[:2])), BOTH, r"01: \S*events.tsv lists no words .*; rows: 1 sound"),
    ("no row", lambda root: bend_events(root, lambda text: text.split("\n")[0]), BOTH, r"01: \S*events.tsv lists no sounds and no words"),
    ("one word", lambda root: bend_events(root, lambda text: "\n".join(text.split("\n")[:3])), BOTH, r"01: a single word is heard: is the table of events whole\?"),
    # 2. the others go on
    ("no sub- in a name", lambda root: rename(root, "sub-01_task-story_eeg", "task-story_eeg"), SECOND, r"task-story_eeg.vhdr has no sub-LABEL in its name"),
    ("called for another subject", lambda root: (root / "sub-01").rename(root / "sub-03"), SECOND, r"sub-03/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in sub-03/eeg"),
    ("session in the name only", lambda root: rename(root, "_task-story", "_ses-a_task-story"), ["sub-01_ses-a_task-story", *SECOND], ""),
    ("session in the folder only", lambda root: ((root / "sub-01/ses-a").mkdir(), (root / "sub-01/eeg").rename(root / "sub-01/ses-a/eeg")), SECOND, r"lies in sub-01/ses-a/eeg, but its name says no session"),
    ("plus in a label", lambda root: rename(root, "task-story", "task-story+"), ["sub-01_task-story+", *SECOND], ""),
    ("the same recording twice", lambda root: write_brainvision(root / "sub-01/eeg/sub-01_task-story_acq-b_eeg"), SECOND, r"sub-01_task-story_eeg.vhdr has the same subject, session, task and run as sub-01_task-story_acq-b_eeg.vhdr"),
    *(
        (f"{kind} of noise", lambda root, kind=kind: to_bytes(root / f"sub-03/{kind.partition('.')[0]}/sub-03_task-story_{kind}", bytes(range(256)) * 12), [*BOTH, "sub-03_task-story"], rf"03: \S*sub-03_task-story_{kind} cannot be read: .{{1,220}}; get the file again")
        for kind in ("eeg.edf", "eeg.bdf", "eeg.set", "meg.fif", "meg.con", "meg.sqd")
    ),
    ("a header of noise", lambda root: to_bytes(header(root), bytes(range(256)) * 12), BOTH, r"01: \S*_eeg.vhdr cannot be read: .{1,220}; get the file again"),
    ("data cut off", lambda root: to_bytes(header(root).with_suffix(".eeg"), b"x" * 7777), BOTH, r"01: \S*_eeg.eeg is truncated: 7777 bytes are 243.03 samples"),
    ("data shorter than its events", lambda root: to_bytes(header(root).with_suffix(".eeg"), header(root).with_suffix(".eeg").read_bytes()[:32000]), BOTH, r"01: \S*_eeg.eeg lasts 10.0 s, but \S*events.tsv goes on to 25.5 s"),
    ("an empty folder of CTF", lambda root: (root / "sub-03/meg/sub-03_task-story_meg.ds").mkdir(parents=True), [*BOTH, "sub-03_task-story"], r"03: \S*sub-03_task-story_meg.ds cannot be read: .*; get the file again"),
    ("epochs", lambda root: write_epochs(root / "sub-03/meg/sub-03_task-story_meg.fif"), [*BOTH, "sub-03_task-story"], r"03: \S*_meg.fif cannot be read: No raw data .*; get the continuous recording, not epochs"),
    # 3. the model sees where sensors lie
    ("no places", lambda root: [file.unlink() for file in (root / "sub-01/eeg").glob("*space*")], BOTH, r"01: there is no electrodes.tsv of .*: 8 of 8 electrodes are placed by their names in the 10-05 system"),
    ("no coordsystem", lambda root: next((root / "sub-01/eeg").glob("*coordsystem.json")).unlink(), BOTH, r"01: sub-01_space-CapTrak_electrodes.tsv has no coordsystem.json: 8 of 8 electrodes are placed by their names"),
    ("all places n/a", lambda root: next((root / "sub-01/eeg").glob("*electrodes.tsv")).write_text("name\tx\ty\tz\nCz\tn/a\tn/a\tn/a\n"), BOTH, r"electrodes.tsv gives no places: 8 of 8 electrodes are placed by their names"),
    ("two spaces", lambda root: [shutil.copy(file, file.with_name(file.name.replace("CapTrak", "MNI305"))) for file in (root / "sub-01/eeg").glob("*space*")], BOTH, r"01: electrodes are placed by sub-01_space-CapTrak_electrodes.tsv, not sub-01_space-MNI305_electrodes.tsv"),
    ("unknown frame", lambda root: replace(root, "coordsystem.json", "CapTrak", "Moon"), BOTH, r"names the coordinate system 'Moon', which is not known: 8 of 8 electrodes are placed by their names"),
    ("names nobody knows", lambda root: (next((root / "sub-01/eeg").glob("*electrodes.tsv")).unlink(), [replace(root, end, name, f"E{number}") for number, name in enumerate(NAMES) for end in ("channels.tsv", ".vhdr")]), BOTH, r"01: 0 of 8 sensors can be used: the places of 8 are not known; add electrodes.tsv"),
    ("all bad", lambda root: replace(root, "channels.tsv", "good", "bad"), BOTH, r"01: 0 of 8 sensors can be used: 8 are marked bad"),
    ("all in one place", lambda root: bend_places(root, lambda name: "0.1\t0.1\t0.1"), BOTH, r"01: sub-01_space-CapTrak_electrodes.tsv gives all electrodes the same place: 8 of 8 electrodes are placed by their names"),
    ("all at the origin", lambda root: bend_places(root, lambda name: "0\t0\t0"), BOTH, r"01: sub-01_space-CapTrak_electrodes.tsv gives no places: 8 of 8"),
    ("places of others", lambda root: [replace(root, "electrodes.tsv", f"\n{name}\t", f"\nX{name}\t") for name in NAMES], BOTH, r"01: sub-01_space-CapTrak_electrodes.tsv has other names \(XFp1\) than the signal \(Fp1\): 8 of 8"),
    ("places of three", lambda root: bend_places(root, lambda name: f"0.0{len(name)}\t0.0{ord(name[0]) % 7}\t0.05" if name in NAMES[:3] else "n/a\tn/a\tn/a"), BOTH, r"01: 3 of 8 sensors can be used: the places of 5 are not known"),
    ("metres called millimetres", lambda root: replace(root, "coordsystem.json", '"m"', '"mm"'), BOTH, r"01: the electrodes of sub-01_space-CapTrak_electrodes.tsv lie up to 0.000197 m apart: is the unit of sub-01_space-CapTrak_coordsystem.json right\?"),
    # 9. the right file is blamed
    ("button row", lambda root: replace(root, "events.tsv", "\n2\t30", "\n1\t-1\tbutton\tn/a\tn/a\tn/a\n2\t30"), BOTH, ""),
    ("participants.tsv", lambda root: to_bytes(root / "participants.tsv", b"\xff\xfe\x00"), BOTH, ""),
    ("scans.tsv", lambda root: to_bytes(root / "sub-01" / "sub-01_scans.tsv", b"filename\tacq_time\nx\tyesterday\n"), BOTH, ""),
    ("eeg.json", lambda root: to_bytes(root / "sub-01/eeg/sub-01_task-story_eeg.json", b"{"), BOTH, ""),
    ("quoted header", lambda root: replace(root, "channels.tsv", "name\ttype", '"name" \t"type"'), BOTH, ""),
    ("channels.tsv without name", lambda root: replace(root, "channels.tsv", "name\t", "label\t"), BOTH, r"01: \S*sub-01_task-story_channels.tsv has no column 'name'"),
    ("channels.tsv cut off", lambda root: replace(root, "channels.tsv", "C3\tEEG\tµV\tgood", "C3\tEEG"), BOTH, r"01: \S*sub-01_task-story_channels.tsv, line 4: 2 values for 4 columns"),
    ("channel twice", lambda root: replace(root, "channels.tsv", "C3\t", "C4\t"), BOTH, r"01: \S*channels.tsv lists channel 'C4' twice"),
    ("channels of another file", lambda root: [replace(root, "channels.tsv", f"{name}\t", f"X{name}\t") for name in NAMES], BOTH, r"01: \S*channels.tsv lists XFp1, XFp2, XC3, ..., but the signal has Fp1, Fp2, C3"),
    ("a channel that is not there", lambda root: replace(root, "channels.tsv", "C3\t", "C5\t"), BOTH, r"01: sub-01_task-story_channels.tsv lists 1 channels that the signal does not have \(C5\)"),
    ("electrodes.tsv", lambda root: replace(root, "electrodes.tsv", "Cz\t", "Cz\tabove "), BOTH, r"01: \S*electrodes.tsv, line 6: x is 'above .*', not a number"),
    ("coordsystem.json", lambda root: replace(root, "coordsystem.json", "{", "["), BOTH, r"01: \S*sub-01_space-CapTrak_coordsystem.json cannot be read"),
    ("markers", lambda root: to_bytes(header(root).with_suffix(".vmrk"), b"\xff\x00" * 99), BOTH, r"01: \S*_eeg.vmrk cannot be read"),
    ("no markers", lambda root: header(root).with_suffix(".vmrk").unlink(), BOTH, ""),
    ("quotes in a header", lambda root: replace(root, ".vhdr", "DataFile=sub-01_task-story_eeg.eeg", 'DataFile="sub-01_task-story_eeg.eeg"'), BOTH, r"01: \S*.vhdr names the data file .*, which does not exist; 'sub-01_task-story_eeg.eeg' is there: correct the line DataFile"),
    ("a path of Windows in a header", lambda root: replace(root, ".vhdr", "DataFile=", "DataFile=C:\\data\\"), BOTH, r"01: \S*.vhdr names the data file .*; 'sub-01_task-story_eeg.eeg' is there"),
    ("a header that names other data", lambda root: replace(root, ".vhdr", "DataFile=sub-01", "DataFile=sub-09"), BOTH, r"01: \S*.vhdr names the data file 'sub-09_task-story_eeg.eeg', which does not exist; get that file too"),
    ("spaces at the ends of a header's lines", lambda root: to_bytes(header(root), header(root).read_bytes().replace(b"\n", b"  \n")), BOTH, ""),
    ("a header with the ends of lines of Windows", lambda root: to_bytes(header(root), header(root).read_bytes().replace(b"\n", b"\r\n")), BOTH, ""),
    ("a header in UTF-16", lambda root: to_bytes(header(root), header(root).read_text().encode("utf-16")), BOTH, r"01: \S*.vhdr cannot be read"),
    ("a header in Latin-1", lambda root: to_bytes(header(root), header(root).read_text().replace("Codepage=UTF-8\n", "").encode("latin-1")), BOTH, ""),
    ("a header in UTF-8 that says it is not", lambda root: [replace(root, end, old, new) for end, old, new in ((".vhdr", "UTF-8", "ANSI"), (".vhdr", "=C3,", "=Cé,"), ("channels.tsv", "C3\t", "Cé\t"), ("electrodes.tsv", "C3\t", "Cé\t"))], BOTH, ""),
    ("a rate of nothing", lambda root: replace(root, ".vhdr", "SamplingInterval=10000", "SamplingInterval=-5"), BOTH, r"01: \S*.vhdr says that it has -200000 Hz"),
    ("channels.tsv in UTF-16", lambda root: (file := header(root).with_name("sub-01_task-story_channels.tsv")).write_bytes(file.read_text().encode("utf-16")), BOTH, r"01: \S*channels.tsv is not UTF-8 text; save it as UTF-8"),
    ("no channel is EEG", lambda root: replace(root, "channels.tsv", "\tEEG\t", "\tMISC\t"), BOTH, r"01: \S*channels.tsv says that no channel is of type EEG or MEG \(its types: MISC\)"),
    ("a type nobody knows", lambda root: replace(root, "channels.tsv", "C3\tEEG", "C3\tscalp"), BOTH, r"01: sub-01_task-story_channels.tsv gives channels types that are not known and left out: scalp"),
    ("a status nobody knows", lambda root: replace(root, "channels.tsv", "C3\tEEG\tµV\tgood", "C3\tEEG\tµV\tbda"), BOTH, r"01: sub-01_task-story_channels.tsv gives channels a status that is neither good nor bad and counts as good: bda"),
    ("a decimal comma", lambda root: replace(root, "events.tsv", "\n25.5\t", "\n25,5\t"), BOTH, r"01: \S*events.tsv, line 12: onset is '25,5', not a number; write it with a point"),
    ("commas between columns", lambda root: bend_events(root, lambda text: text.replace("\t", ",")), BOTH, r"01: \S*events.tsv has no column 'onset' \(found onset,duration"),
    ("rows of another order", lambda root: bend_events(root, lambda text: "\n".join([text.split("\n")[0], *text.strip().split("\n")[:0:-1]])), BOTH, ""),
    # 10. words and names
    ("the word nan", lambda root: replace(root, "events.tsv", "\tsea\t", "\tnan\t"), BOTH, ""),
    ("a word that is n/a", lambda root: replace(root, "events.tsv", "\tsea\t", "\tn/a\t"), BOTH, r"01: 1 rows of sub-01_task-story_events.tsv are words that are n/a and are left out \(line 9\)"),
    ("a line separator in a word", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\u2028a\t"), BOTH, ""),
    ("another separator", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\x1da\t"), BOTH, ""),
    ("a row twice", lambda root: replace(root, "events.tsv", "\n25.5\t0.3\tword\tn/a\tsongs\t9", "\n25.5\t0.3\tword\tn/a\tsongs\t9" * 2), BOTH, r"01: 1 rows of sub-01_task-story_events.tsv are there twice \(line 13\)"),
    ("two onsets", lambda root: replace(root, "events.tsv", "onset\tduration", "onset\tonset"), BOTH, r"01: \S*events.tsv, line 2: two columns are called 'onset' and differ"),
    ("UTF-16 without mark", lambda root: (file := header(root).with_name("sub-01_task-story_events.tsv")).write_bytes(file.read_text().encode("utf-16-le")), BOTH, r"01: \S*events.tsv is not UTF-8 text; save it as UTF-8"),
    ("a sound in another case", lambda root: replace(root, "events.tsv", "a.wav", "A.WAV"), BOTH, r"01: \S*events.tsv, line 2: no sound file 'A.WAV' .*'a.wav' is there"),
    ("backslashes", lambda root: ((root / "stimuli/x").mkdir(), shutil.copy(root / "stimuli/a.wav", root / "stimuli/x"), replace(root, "events.tsv", "a.wav", "x\\a.wav")), BOTH, r"01: .*'x/a.wav' is there"),
    ("another form of accents", lambda root: (shutil.copy(root / "stimuli/a.wav", root / "stimuli" / unicodedata.normalize("NFD", "é.wav")), replace(root, "events.tsv", "a.wav", "é.wav")), BOTH, r"01: .* names must be the same in case, accents"),
    ("a sound that was not fetched", lambda root: (dangling(root / "stimuli/b.wav"), replace(root, "events.tsv", "a.wav", "b.wav")), BOTH, r"01: .*the sound file \S*b.wav is a link .* datalad get stimuli/b.wav"),
    ("an empty TextGrid", lambda root: textgrid(root, b""), BOTH, r"01: the TextGrid \S*b.TextGrid is empty"),
    ("a binary TextGrid", lambda root: textgrid(root, b"ooBinaryFile\x08TextGrid\0\0"), BOTH, r"01: the TextGrid \S*b.TextGrid is a binary one; save it as a text file"),
    ("a TextGrid in UTF-16 without mark", lambda root: textgrid(root, GRID.encode("utf-16-le")), BOTH, r"01: the TextGrid \S*b.TextGrid is UTF-16 without a byte order mark"),
    ("a TextGrid longer than its sound", lambda root: textgrid(root, GRID.encode()), BOTH, r"01: 1 words of b.TextGrid begin after the 30.0 s of its sound and are left out"),
    *((f"the word {word}", lambda root, word=word: replace(root, "events.tsv", "\tsea\t", f"\t{word}\t"), BOTH, "") for word in ("null", "NA", "None", "#", '"', "😀", "שלום", "'")),
    ("a tab in a word", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\ta\t"), BOTH, r"01: \S*events.tsv, line 9: 7 values for 6 columns"),
    ("a nought in a word", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\0a\t"), BOTH, r"01: \S*events.tsv is not UTF-8 text"),
    ("events in Latin-1", lambda root: (file := header(root).with_name("sub-01_task-story_events.tsv")).write_bytes(file.read_text().replace("sea", "séa").encode("latin-1")), BOTH, r"01: \S*events.tsv is not UTF-8 text; save it as UTF-8, separated by tabs"),
    ("stimuli with a capital", lambda root: ((root / "stimuli").rename(root / "Stimuli"), shutil.rmtree(root / "sub-02")), ["sub-01_task-story"], r"01: .*'Stimuli/a.wav' is there, and names must be the same in case"),
    ("a folder in place of a sound", lambda root: ((root / "stimuli/b.wav").mkdir(), replace(root, "events.tsv", "a.wav", "b.wav")), BOTH, r"01: .*no sound file 'b.wav' in \S*stimuli or \S*talk$"),
    ("a sound outside", lambda root: replace(root, "events.tsv", "a.wav", "../../a.wav"), BOTH, r"01: .*stim_file '../../a.wav' lies outside of the dataset"),
    ("a TextGrid in Latin-1", lambda root: textgrid(root, GRID.replace("old", "öld").encode("latin-1")), BOTH, r"01: \S*b.TextGrid cannot be read as a TextGrid: it is not UTF-8; save it as UTF-8"),
    ("a page in place of a TextGrid", lambda root: textgrid(root, b"<html>" * 50), BOTH, r"01: \S*b.TextGrid cannot be read as a TextGrid: it begins with '<html>"),
    ("a TextGrid cut off", lambda root: textgrid(root, GRID.encode()[:400]), BOTH, r"01: \S*b.TextGrid cannot be read as a TextGrid: "),
    ("a TextGrid with intervals in each other", lambda root: textgrid(root, GRID.replace("xmin = 2\n", "xmin = 1.5\n").encode()), BOTH, r"01: \S*b.TextGrid cannot be read as a TextGrid: Two intervals"),
    ("a TextGrid in capitals", lambda root: (textgrid(root, GRID.encode()), (root / "stimuli/b.TextGrid").rename(root / "stimuli/b.TEXTGRID")), BOTH, r"01: 1 words of b.TEXTGRID begin after"),
]  # fmt: skip


@pytest.mark.parametrize(("bend", "kept", "line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_real_files(talk: Path, bend: Bend, kept: list[str], line: str) -> None:
    expect(talk, bend, kept, line)


NOTHING: list[tuple[str, Bend, str]] = [
    ("Sub-", lambda root: (root / "sub-01").rename(root / "Sub-01"), r"can be used: Sub-01/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in Sub-01/eeg; rename Sub-01 to sub-01"),
    ("Sub- in names too", lambda root: (rename(root, "sub-01", "Sub-01"), (root / "sub-01").rename(root / "Sub-01")), r"can be used: Sub-01/eeg/Sub-01_task-story_eeg.vhdr is called Sub-...; rename it and its folder to sub-"),
    ("S01", lambda root: (root / "sub-01").rename(root / "S01"), r"rename S01 to sub-01"),
    ("not fetched", lambda root: dangling(header(root)), r"type datalad get sub-01/eeg/sub-01_task-story_eeg.vhdr$"),
    ("subject not fetched", lambda root: (shutil.rmtree(root / "sub-01"), (root / "sub-01").mkdir()), r"sub-01 holds no EEG or MEG recording \(no files\); get its files, as with datalad get sub-01"),
    ("nobody", lambda root: shutil.rmtree(root / "sub-01"), r"no EEG or MEG recordings in .*: looked for sub-"),
]  # fmt: skip


@pytest.mark.parametrize(("bend", "line"), [case[1:] for case in NOTHING], ids=[case[0] for case in NOTHING])
def test_where_nothing_remains_the_reason_is_told(talk: Path, bend: Bend, line: str) -> None:
    shutil.rmtree(talk / "sub-02")
    bend(talk)
    with pytest.raises(InputError, match=line) as refused:
        Bids(path=str(talk)).recordings(talk)
    assert "\n" not in str(refused.value)


def test_words_are_kept_as_they_are(talk: Path) -> None:
    replace(talk, "events.tsv", "\tsea\t", "\tnan\t")
    replace(talk, "events.tsv", "\tman\t", "\tma\u2028n\t")
    replace(talk, "events.tsv", "\told\t", "\tNone\t")
    study = Bids(path=str(talk))
    events = study.events(talk, study.recordings(talk)[0])
    words = [event.word for event in events if isinstance(event, Word)]
    assert words == ["the", "None", "ma\u2028n", "sat", "by", "the", "nan", "and", "sang", "songs"]


def test_folders_whose_names_are_no_latin(talk: Path) -> None:
    (talk / "dataset_description.json").write_text("{}")
    names = [title(talk.rename(talk.with_name(name))) for name in ("馬", "牛")[:1]]
    names += [title(Path(name)) for name in ("牛", "ウマ", "a, [b]")]
    assert len(set(names)) == 4
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


@pytest.mark.parametrize("name", ["a,b", "a[1]", "a b", "馬", "a'b", "{x}", "a*"])
def test_paths(talk: Path, name: str) -> None:
    moved = talk.rename(talk.with_name(name))
    assert used(moved) == BOTH
    assert lines(moved) == []
    assert all(path.exists() for path in Bids(path=str(moved)).sources(moved, Bids(path=str(moved)).recordings(moved)[0]))


def test_a_recording_costs_the_same_among_few_and_many(talk: Path) -> None:
    """Counted in files and folders that are opened, whatever the machine does besides."""
    recording = Bids(path=str(talk)).recordings(talk)[0]
    opened: list[str] = []
    counting = [False]
    sys.addaudithook(lambda event, args: opened.append(event) if counting[0] and event in OPENING else None)

    def cost() -> Counter[str]:
        opened.clear()
        counting[0] = True
        said = checked(talk, recording)
        counting[0] = False
        assert said == []
        return Counter(opened)

    cost()  # imports are done once
    few = cost()
    for number in range(30):
        write_subject(talk, f"9{number:02}")
    many = cost()
    assert few["open"] > 10
    assert many == few


@pytest.mark.slow
def test_hundreds_of_recordings_are_checked(ray_cluster: None, talk: Path, tmp_path: Path) -> None:
    """Each is there, and nothing is said of any."""
    for number in range(298):
        write_subject(talk, f"9{number:03}")
    surveyed = survey_study(Bids(path=str(talk)), Cluster(home=tmp_path / "home"))
    assert len(surveyed.recordings) == 300
    assert {tuple(one.problems + one.odd) for one in surveyed.recordings} == {()}
    assert {one.words for one in surveyed.recordings} == {len(WORDS)}
    assert surveyed.left_out == []


def test_a_thousand_recordings_are_found_quickly(tmp_path: Path) -> None:
    """Each by the folder of its subject alone, not by another look at all folders."""
    for number in range(1000):
        stem = tmp_path / f"sub-{number:04d}" / "eeg" / f"sub-{number:04d}_task-story"
        stem.parent.mkdir(parents=True)
        for ending in ("eeg.edf", "events.tsv"):
            Path(f"{stem}_{ending}").write_text("x")
    study = Bids(path=str(tmp_path))
    started = time.process_time()
    recordings = study.recordings(tmp_path)
    assert len(recordings) == 1000
    assert {len(study.sources(tmp_path, recording)) for recording in recordings} == {2}
    assert time.process_time() - started < 15
