"""Sources: the recordings that an experiment is to be prepared from, found in the folders of its studies."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.identity import locate
from raybrain.prepare.tasks import Source

if TYPE_CHECKING:
    from raybrain.data_config import DataConfig


def sources_of(data: "DataConfig", cluster: Cluster) -> list[Source]:
    """The recordings of all studies; InputError if a study is not there, or a name cannot be one."""
    folders = [(study, study.fetch(cluster.cache)) for study in locate(data, cluster.home).studies]
    sources = [Source(study, root, recording) for study, root in folders for recording in study.recordings(root)]
    _refuse_names(sources)
    return sources


def _refuse_names(sources: Sequence[Source]) -> None:
    roots: dict[str, Path] = {}
    for source in sources:
        name, root = source.recording.study, source.root
        if roots.setdefault(name, root) != root:
            raise InputError(
                f"{roots[name]} and {root} both hold a study called {name!r}; call one of them otherwise, "
                "as with data.studies.bids#1.label=NAME"
            )
    for recording in [source.recording for source in sources]:
        if not recording.uid.isprintable() or set(recording.uid) & set('/\\<>:"|?*'):
            raise InputError(f"{recording} cannot name a file: study, subject and so on must be letters, digits and hyphens")
    twice = [uid for uid, count in Counter(source.recording.uid for source in sources).items() if count > 1]
    if twice:
        raise InputError(f"data.studies names recording {twice[0]} twice; give each study once")
