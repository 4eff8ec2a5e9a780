"""Sound files: their duration. Not a study itself."""

import struct
from pathlib import Path

from raybrain.config import InputError
from raybrain.studies.readers.signal_files import why_absent

LEFT_BYTES = 20_000  # of tags behind the sound, and of what a decoder has not read ahead
UNKNOWN_SIZE = 0x7FFFF000  # what programs write that do not know how long a sound will get: this or more


def sound_length_s(path: Path) -> float:
    """The duration of a sound file in seconds, from its header; of an MP3, whose header only estimates it, by decoding.

    Raises:
        InputError: if it does not exist, is empty, cannot be read, or is a WAV file that is cut off.
    """
    import soundfile

    if not path.is_file():
        raise InputError(f"no sound file {path}")
    if absent := why_absent(path, path.parent):
        raise InputError(f"the sound file {path} {absent}")
    try:
        info = soundfile.info(str(path))
        frames = _decoded(path) if info.format == "MP3" else info.frames
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise InputError(f"the sound file {path} cannot be read: {reason}; get the file again") from None
    promised = _promised_bytes(path) if info.format == "WAV" else 0
    size = path.stat().st_size
    if promised > size:
        raise InputError(
            f"the sound file {path} is cut off: {size} of the {promised} bytes that its header promises, "
            f"{frames / info.samplerate:.1f} s of sound, are there; get the file again"
        )
    if not frames:
        raise InputError(f"the sound file {path} holds no sound; get the file again")
    return float(frames / info.samplerate)


def _decoded(path: Path) -> int:
    """How many samples come out of an MP3.

    Raises:
        InputError: if that is not all: the decoder stops where it expects the end, from the bytes of the first frames.
    """
    import soundfile

    with path.open("rb") as content, soundfile.SoundFile(content) as file:
        count = sum(len(block) for block in file.blocks(1 << 16, dtype="float32"))
        left = path.stat().st_size - content.tell()
        if left > LEFT_BYTES:
            raise InputError(
                f"the sound file {path} does not say how long it is, and {left} bytes of it are left after the "
                f"{count / file.samplerate:.1f} s it seems to last; convert it, as with `ffmpeg -i {path.name} {path.stem}.wav`"
            )
        return count


def _promised_bytes(path: Path) -> int:
    """How long a WAV file should be by the size of its data; 0 if that is not known, as of a stream."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return 0
        file.seek(12)
        while len(header := file.read(8)) == 8:
            (size,) = struct.unpack("<I", header[4:])
            if header[:4] == b"data":
                return 0 if size >= UNKNOWN_SIZE else file.tell() + size
            file.seek(size + size % 2, 1)
    return 0
