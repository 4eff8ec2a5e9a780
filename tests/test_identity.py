"""A signature names settings and code: what a plug-in's source says, not where it lies or how it is laid out."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from raybrain.config import Choice, Config, InputError
from raybrain.encoders.base import Encoder
from raybrain.experiment import Experiment
from raybrain.identity import code_digest, contents, locate, plain, signature, version

REPO = Path(__file__).parents[1]
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
    text = "from raybrain.features.base import Feature\nclass Mine(Feature, name={!r}): pass\n"
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
