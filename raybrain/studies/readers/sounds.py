"""Sound files: their duration. Not a study itself."""

from pathlib import Path

from raybrain.config import InputError


def sound_length_s(path: Path) -> float:
    """The duration of a sound file in seconds, from its header.

    Raises:
        InputError: if it does not exist, is empty or cannot be read.
    """
    import soundfile

    if not path.is_file():
        raise InputError(f"no sound file {path}")
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"the sound file {path} cannot be read: {' '.join(str(error).split())}") from None
    if not info.frames:
        raise InputError(f"the sound file {path} is empty")
    return float(info.frames / info.samplerate)
