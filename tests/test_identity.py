"""A signature names settings and code: what a plug-in's source says, not where it lies or how it is laid out."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import ray

from raybrain.cluster import Cluster
from raybrain.config import Choice, Config, InputError, override
from raybrain.data_config import DataConfig
from raybrain.encoders.base import Encoder
from raybrain.experiment import Experiment
from raybrain.identity import code_digest, contents, locate, plain, signature, version
from raybrain.prepare import build
from raybrain.storage import read_json
from tests.conftest import REPO, TINY, Ended

PLUGIN = '''
"""Features of mine."""
from raybrain.features.base import Feature
from raybrain.features.mel import Mel

class Loud(Feature, name="loud"):
    """How loud it is."""
    gain: float = 2.0

    def extract(self, stimulus):
        from loudness import level
        return self.gain * level(stimulus)  # in phon

class Fine(Mel, name="fine"):
    bands: int = 8
'''
BESIDE = "def level(stimulus):\n    return stimulus.duration\n"
ASK = """
from raybrain.features.base import Feature
from raybrain.identity import signature
print(*(signature(Feature.parse(name)) for name in ("loud", "fine", "mel")))
"""


def ask(code: str, plugins: list[Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, which knows some plug-ins."""
    named = os.pathsep.join(map(str, plugins))
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "RAYBRAIN_PLUGINS": named,
        "PYTHONDONTWRITEBYTECODE": "1",
    } | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def signatures(
    folder: Path, plugin: str = PLUGIN, beside: str = BESIDE, name: str = "mine.py", **environment: str
) -> list[str]:
    """The signatures of the features of a plug-in, and of one of raybrain's own."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(plugin)
    (folder / "loudness.py").write_text(beside)
    (folder / "unrelated.py").write_text("not even Python")
    done = ask(ASK, [folder / "mine.py"], **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_edited_plugin_asks_another_question(tmp_path: Path) -> None:
    loud, fine, mel = signatures(tmp_path / "a")
    assert len({loud, fine, mel}) == 3
    assert mel == signatures(tmp_path / "a", PLUGIN.replace("2.0", "3.0"))[2], "raybrain's own is another matter"
    assert loud != signatures(tmp_path / "a", PLUGIN.replace("self.gain *", "self.gain +"))[0]
    assert loud != signatures(tmp_path / "a", PLUGIN.replace("gain: float = 2.0", "gain: float = 3.0"))[0], "a default"
    assert loud != signatures(tmp_path / "a", beside=BESIDE.replace("duration", "words"))[0], "what it imports from beside it"


def test_layout_and_place_of_a_plugin_do_not_matter(tmp_path: Path) -> None:
    before = signatures(tmp_path / "a")
    laid_out = PLUGIN.replace("# in phon", "# louder").replace("How loud", "Just how loud").replace("float = 2.0", "float=2.0")
    assert before == signatures(tmp_path / "a", "\n\n" + laid_out, BESIDE + "# the end\n", PYTHONHASHSEED="7")
    assert before == signatures(tmp_path / "b")


def test_a_kind_without_a_file_is_named_by_its_code() -> None:
    code = """
from raybrain.features.base import Feature
from raybrain.identity import version
FACTOR = {factor}
def helper(x):
    return x in {{"a", "b", "c"}} and {number} * FACTOR
class Mine(Feature, name="mine"):
    depth: int = {depth}
    def extract(self, stimulus):
        return (lambda x: helper(x))(stimulus)
print(version(Mine))
"""

    def asked(seed: str = "1", **changes: int) -> str:
        done = ask(code.format(**({"factor": 1, "number": 2, "depth": 3} | changes)), [], PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    versions = [asked(), asked(factor=5), asked(number=5), asked(depth=5)]
    assert len(set(versions)) == 4
    assert versions[0] == asked(seed="2")


def test_a_raised_version_gives_another_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Experiment().signature, Experiment().data.brain_signature, signature(Encoder.kind("simple_conv")())
    monkeypatch.setattr(Encoder.kind("simple_conv"), "version", 2)
    after = Experiment().signature, Experiment().data.brain_signature, signature(Encoder.kind("simple_conv")())
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False, True]
    monkeypatch.setattr(Encoder.kind("conv_rnn"), "version", 3)
    assert Experiment().signature == after[0], "of a kind that is not asked for"


def test_a_place_is_named_by_its_content(tmp_path: Path) -> None:
    class Shelf(Config):
        path: str = ""
        book: str = ""

        def named(self) -> dict[str, Any]:
            return {"path": "", "book": self.book or Path(self.path).name}

        def located(self, home: Path) -> "Shelf":
            return self.model_copy(update={"book": Path(self.path).name, "path": str(home / "shelf")})

    class Room(Config):
        shelves: tuple[Shelf, ...] = ()
        height: float = 2.0

    asked = Room(shelves=(Shelf(path="/here/maths"), Shelf(path="/there/physics")))
    moved = Room(shelves=(Shelf(path="/attic/maths"), Shelf(path="/physics")))
    assert contents(asked) == contents(moved) != contents(Room())
    assert signature(asked) == signature(moved) == signature(locate(asked, tmp_path)) != signature(Room())
    assert [shelf.path for shelf in locate(asked, tmp_path).shelves] == [str(tmp_path / "shelf")] * 2
    assert locate(Room(), tmp_path) == Room()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1  # one", "x=1"),
        ('"""Doc."""\ndef f(a, b):\n    """Doc."""\n    return (a,\n        b)', "def f(a,b):\n\n    return a, b"),
        ('class A:\n    """Doc."""', "class A: pass"),
        ('class A:\n    x: int = 1\n    """Of the field."""', "class A:\n    x: int = 1"),
    ],
)
def test_plain_source(one: str, other: str) -> None:
    assert plain(one) == plain(other)
    assert code_digest(one) == code_digest(other)


def test_plain_source_keeps_what_counts() -> None:
    codes = ["x = 'a'", "x = 'b'", "x = None", "f()", "[f]"]
    codes += [f"def f():\n    {line}" for line in ("return 'a'", "return", "'a'")]
    assert len(set(map(plain, codes))) == len(set(map(code_digest, codes))) == len(codes)


# doubles


def test_a_second_kind_of_a_name_is_refused(tmp_path: Path) -> None:
    """Also where it takes the name of a kind of raybrain that is looked up first."""
    text = (
        "from raybrain.features.base import Feature\nclass Mine(Feature, name={!r}):\n    def extract(self, stimulus): pass\n"
    )
    first, second, third = (tmp_path / f"{name}_feature.py" for name in ("first", "second", "third"))
    for file, name in ((first, "mine"), (second, "mine"), (third, "mel")):
        file.write_text(text.format(name))
    code = "from raybrain.features.base import Feature; Feature.kind('mel')"
    assert ask(code, [first]).returncode == 0
    assert f"two kinds of feature called 'mine', in {first} and in {second}; give" in ask(code, [first, second]).stderr
    assert f"mel.py and in {third}; give one of them another name" in ask(code, [third]).stderr
    command = "import sys; sys.argv = ['raybrain', 'show', 'quickstart']; from raybrain.cli import main; main()"
    done = ask(command, [first, second], RAYBRAIN_HOME=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_class_defined_again_takes_its_own_place() -> None:
    class Family(Choice):
        pass

    def define(value: int) -> type[Family]:
        class Mine(Family, name="mine"):
            number: ClassVar[int] = value

        return Mine

    define(1)
    assert define(2) is Family.kind("mine")
    assert version(Family.kind("mine")) == version(define(3)), "it is the source that counts"
    with pytest.raises(InputError, match=r"two kinds of family called 'mine', in .*test_identity\.py and in elsewhere; give"):
        type("Other", (Family,), {"__module__": "elsewhere"}, name="mine")


def test_code_that_was_edited_meanwhile_is_refused(tmp_path: Path) -> None:
    """As in a worker that starts later."""
    send = "import pickle; from raybrain.features.base import Feature; from raybrain.identity import versions\n"
    send += "f = Feature.parse('loud'); print(pickle.dumps((f, versions(f))).hex())"
    take = "import pickle; from raybrain.identity import check_unedited; check_unedited(*pickle.loads(bytes.fromhex({!r})))"
    signatures(tmp_path)
    sent = ask(send, [tmp_path / "mine.py"])
    code = take.format(sent.stdout.strip())
    path = {"PYTHONPATH": f"{REPO}{os.pathsep}{tmp_path}"}
    assert ask(code, [tmp_path / "mine.py"], **path).returncode == 0
    (tmp_path / "mine.py").write_text(PLUGIN.replace("self.gain *", "self.gain +"))
    error = ask(code, [tmp_path / "mine.py"], **path).stderr.splitlines()[-1]
    assert error.endswith("the code of 'loud' was edited while it was used; run the same command again")


# the whole command

MINE = """
import torch
from raybrain.encoders.base import Encoder
from raybrain.studies.synthetic import Synthetic

class Flat(Encoder, name="flat"):
    def build(self, shapes):
        return FlatModule(shapes.channels, shapes.features)

class FlatModule(torch.nn.Module):
    def __init__(self, channels, features):
        super().__init__()
        self.map = torch.nn.Conv1d(channels, features, 1)

    def forward(self, batch):
        return self.map(batch.signal)

class Mine(Synthetic, name="mine"):
    def sources(self, root, recording):
        {first}
        return super().sources(root, recording)
"""


@pytest.mark.slow
def test_an_edited_plugin_is_trained_anew(ray_cluster: None, tmp_path: Path) -> None:
    plugin, address = tmp_path / "mine.py", ray.get_runtime_context().gcs_address
    small = [word.replace("synthetic", "mine") for word in TINY if not word.startswith(("encoder", "train.epochs"))]
    small += ["encoder=flat", "train.epochs=1", "train.updates_per_epoch=2"]
    words = ["train", "quickstart", "data.studies=mine", *small]
    words += ["--home", str(tmp_path / "home"), "--address", address, "--json"]
    command = f"import sys; sys.argv = {['raybrain', *words]}; from raybrain.cli import main; main()"

    def train(text: str) -> subprocess.CompletedProcess[str]:
        plugin.write_text(text)
        return ask(command, [plugin])

    def result(text: str) -> Any:
        done = train(text)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        return found["signature"], found["store"], found["run"], found["history"]

    before = result(MINE.format(first="pass"))
    assert result(MINE.format(first="pass  # nothing") + "\n# the end\n") == before
    after = result(MINE.format(first="pass").replace("return self.map(batch.signal)", "return 2 * self.map(batch.signal)"))
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, False, False]
    edits = f"open({str(plugin)!r}, 'a').write('edited = True\\n')"  # the main process looks for sources, others read events
    edited = train(MINE.format(first=edits))
    assert edited.returncode == 2
    assert "the code of 'mine' was edited while it was used; run the same command again" in edited.stderr.splitlines()[-1]


@pytest.mark.slow
def test_nothing_is_done_again_wherever_data_and_home_lie(
    ray_cluster: None, raybrain: Callable[..., Ended], semireal: Path, tmp_path: Path
) -> None:
    small = [word for word in TINY if "synthetic" not in word and "epochs" not in word]
    small += ["train.epochs=1", "train.updates_per_epoch=2"]

    def train(folder: Path | str, home: Path) -> Any:
        ended = raybrain("train", "quickstart", f'data.studies="bids:{folder}"', *small, "--home", str(home), "--json")
        assert ended.code == 0, ended.err
        return ended.json

    def made(home: Path) -> dict[str, tuple[int, int]]:
        """What is costly: each file's number on the disk, and its time."""
        stats = {path: path.stat() for suffix in ("parquet", "npy", "pt") for path in home.rglob(f"*.{suffix}")}
        return {str(path.relative_to(home)): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}

    here, home = tmp_path / "here", tmp_path / "home"
    shutil.copytree(semireal, here, copy_function=shutil.copyfile)
    first = train(here, home)
    files = made(home)
    assert {Path(name).parts[0] for name in files} >= {"stores", "features", "maps", "runs"}
    there = tmp_path / "another name"
    shutil.copytree(here, there, copy_function=shutil.copyfile)  # which gives all files new times
    shutil.rmtree(here)
    assert train(there, home) == first
    moved = home.rename(tmp_path / "elsewhere")
    again = train(first_dataset(moved), moved)
    for key in ("signature", "mlflow_run_id", "history", "test", "subjects", "controls"):
        assert again[key] == first[key], key
    assert not home.exists()
    assert made(moved) == files


def first_dataset(home: Path) -> str:
    """The name of the dataset that a home knows of."""
    return str(*read_json(home / "datasets.json"))


@pytest.mark.slow
def test_a_subject_more_is_another_question_and_little_work(ray_cluster: None, semireal: Path, tmp_path: Path) -> None:
    folder, cluster = tmp_path / "data", Cluster(home=tmp_path / "home")
    shutil.copytree(semireal, folder, copy_function=shutil.copyfile)
    later = shutil.move(folder / "sub-04", tmp_path / "sub-04")
    data = override(DataConfig(), {"studies": f'"bids:{folder}"', "features": "word_length"})
    first, signed = build.run(data, cluster), data.brain_signature
    shutil.move(later, folder / "sub-04")
    second = build.run(data, cluster)
    assert data.brain_signature != signed
    assert (len(first.recordings), len(second.recordings)) == (3, 4)
    same = [first.store.table_path("brain", uid).samefile(second.store.table_path("brain", uid)) for uid in first.recordings]
    assert same == [True, True, True]
