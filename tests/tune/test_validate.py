"""What a search space cannot say."""

from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from raybrain.config import InputError
from raybrain.tune.validate import check
from tests.sweeps import DEPTH, LR, space


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parameters": {"encoder.dpeth": DEPTH}}, r"no setting 'encoder.dpeth', did you mean 'depth'\?"),
        ({"asked": {"encoder.depth": 3}}, r"encoder.depth=3: trials try 2, 4; type one of these, with which the first begins"),
        ({"asked": {"optim.lr": 0.5}, "parameters": {"optim.lr": LR}}, r"optim.lr=0.5: trials try .* to .*; type one of these"),
        ({"parameters": {"optim.lr": FloatDistribution(-1.0, 1.0)}}, r"optim.lr=-1.0: "),
        ({"parameters": {"encoder.depth": [2, 4]}}, r"encoder.depth: \[2, 4\] is no distribution"),
        ({"parameters": lambda trial: {"optim.rl": trial.suggest_float("rate", 0.1, 1)}}, r"rate=0.1: no setting 'optim.rl'"),
        ({"parameters": {}}, r"name settings to search"),
        ({"variants": {"model": {"big": {"encoder.hiden": 3}}}}, r"model=big: no setting 'encoder.hiden', did you mean"),
        ({"variants": {"model": {}}}, r"'model' names none"),
        ({"over": ("study",)}, r"no dimension to repeat over 'study'"),
        ({"seeds": (-1,)}, r"train.seed=-1"),
        (
            {"metric": "test_top10"},
            r"no metric 'test_top10' of the valid split, by which alone trials are chosen\. Allowed: valid_loss",
        ),
        ({"objectives": ("size",), "scheduler": "none"}, r"no objective 'size'"),
        ({"objectives": ("parameters",)}, r'type scheduler="none"'),
        ({"objectives": ("seconds",), "scheduler": "none", "sampler": "cmaes"}, r'type sampler="tpe"'),
        ({"scheduler": "ahsa"}, r"no scheduler called 'ahsa', did you mean 'asha'\?"),
        ({"sampler": "tqe"}, r"no sampler called 'tqe', did you mean 'tpe'\?"),
        ({"scheduler": 3}, r"scheduler=3 is no scheduler; type one like scheduler='asha'"),
        ({"trials": None}, r"say how many trials"),
        ({"trials": 0}, r"trials=0: at least 1"),
        ({"scheduler": "asha:0"}, r"grace=0: input should be greater than 0"),
        ({"scheduler": "none:2"}, r"'none' takes no value after a colon"),
        ({"sampler": "grid", "parameters": {"optim.lr": LR}}, r"optim.lr is a range without steps"),
        ({"sampler": "grid", "allowed": lambda experiment: False}, r"no point that is allowed"),
        ({"fixed": {"train.epocs": 3}}, r"no setting 'train.epocs'"),
        ({"parameters": lambda trial: {"encoder.depth": trial.sugest_int("depth", 1, 2)}}, r"no attribute 'sugest_int'"),
        ({"parameters": lambda trial: None}, r"returns None; it must return a dict of settings"),
        ({"allowed": lambda experiment: experiment.encoder.dpth < 3}, r"AttributeError: .* has no attribute 'dpth'"),
        ({"seeds": 3}, r"seeds=3: type a list, like seeds=\(1, 2, 3\)"),
        ({"over": "study"}, r"over='study': type a list, like over=\('study',\)"),
    ],
)
def test_what_a_space_cannot_say(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(space(**changed))
