"""Commands as jobs of a cluster: what is sent, what is shown, and what comes of a lost connection."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raybrain import submission
from raybrain.config import InputError
from raybrain.submission import JobServer
from raybrain.working_folder import working_folder
from tests.conftest import Ended

Raybrain = Callable[..., Ended]


class Status(str):
    def is_terminal(self) -> bool:
        return self in ("SUCCEEDED", "FAILED", "STOPPED")


class Client:
    """What Ray's own client does, with a log that grows, and losing the connection between."""

    def __init__(self, *answers: tuple[str, str, int | None] | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.log = ""

    def list_jobs(self) -> list[Any]:
        return [
            SimpleNamespace(submission_id="raysubmit_1", start_time=1, status="RUNNING", entrypoint="raybrain tune quickstart")
        ]

    def submit_job(self, **given: Any) -> str:
        self.sent.append(given)
        return "raysubmit_1"

    def get_job_info(self, job: str) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        state, self.log, code = answer
        return SimpleNamespace(status=Status(state), driver_exit_code=code)

    def get_job_logs(self, job: str) -> str:
        return self.log

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Client]:
    monkeypatch.setattr(submission, "LOOK_S", 0.01)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.py").write_text("")

    def start(*answers: Any) -> Client:
        client = Client(*answers)
        monkeypatch.setattr(JobServer, "open", classmethod(lambda cls, address: cls("http://lab:8265", client)))
        return client

    return start


def test_a_job_is_the_command_as_it_is_typed(serve: Any, raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:planted@lab:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted")
    client = serve(
        ("RUNNING", "one\n", None),
        ConnectionError("gone"),
        ("RUNNING", "one\ntwo\n", None),
        ("SUCCEEDED", "one\ntwo\nend\n", 0),
    )
    ended = raybrain("submit", "tune", "my space.py", "--trials", "2", "--cluster", "failures=1")
    assert ended.code == 0
    (sent,) = client.sent
    assert sent["entrypoint"] == "raybrain tune 'my space.py' --trials 2 --cluster failures=1"
    assert "planted" not in str(sent) + ended.out + ended.err
    assert ended.out.count("one\n") == 1 and ended.out.endswith("one\ntwo\nend\n")
    assert "raybrain follow raysubmit_1" in ended.out and "http://lab:5000" in ended.out
    assert "does not answer; reading on" in ended.err


@pytest.mark.parametrize(
    ("state", "code", "expected"), [("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", None, 130), ("SUCCEEDED", 0, 0)]
)
def test_the_exit_code_of_the_job_is_that_of_the_command(
    state: str, code: int | None, expected: int, serve: Any, raybrain: Raybrain
) -> None:
    serve((state, "log\n", code))
    assert raybrain("follow", "raysubmit_1").code == expected


def test_jobs_are_named(serve: Any, raybrain: Raybrain) -> None:
    serve()
    assert "raysubmit_1  RUNNING    raybrain tune quickstart" in raybrain("follow").out


@pytest.mark.parametrize("stop", [True, False])
def test_ctrl_c_asks_whether_to_stop(stop: bool, serve: Any, raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(KeyboardInterrupt())
    monkeypatch.setattr("typer.confirm", lambda *given, **options: stop)
    ended = raybrain("follow", "raysubmit_1")
    assert ended.code == 130 and "raybrain follow raysubmit_1" in ended.err
    assert client.stopped == (["raysubmit_1"] if stop else [])


def test_ctrl_c_where_nobody_can_answer_lets_the_job_go_on(
    serve: Any, raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(KeyboardInterrupt())
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ended = raybrain("follow", "raysubmit_1")
    assert ended.code == 130 and "raybrain follow raysubmit_1" in ended.err and not client.stopped


def test_what_cannot_be_sent_is_refused(serve: Any, raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted")
    unknown, secret = raybrain("submit", "trian", "quickstart"), raybrain("submit", "train", "quickstart", "--home", "/planted")
    assert unknown.code == secret.code == 2 and not client.sent
    assert "did you mean 'train'?" in unknown.err and "holds a secret" in secret.err


@pytest.mark.parametrize("variable", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"])
def test_nobody_at_the_address(variable: str, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment names: Ray itself would send the job there."""
    monkeypatch.setenv(variable, "http://127.0.0.1:7")
    monkeypatch.chdir(tmp_path)
    ended = raybrain("submit", "--server", "http://127.0.0.1:9", "tune", "quickstart")
    assert ended.code == 2 and "no Ray cluster takes jobs at http://127.0.0.1:9" in ended.err and "1:7" not in ended.err
    assert ended.err.count("\n") == 1


def test_a_wrong_token_is_said(raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import AuthenticationError

    def refuse(address: str) -> Any:
        raise AuthenticationError("Unauthenticated")

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", refuse)
    ended = raybrain("follow", "raysubmit_1")
    assert ended.code == 2 and "did not take your token" in ended.err and ended.err.count("\n") == 1


def test_a_job_that_is_not_there(serve: Any) -> None:
    client = serve(RuntimeError("Request failed with status code 404: job x does not exist"))
    with pytest.raises(InputError, match="no job 'x' at http://lab:8265"):
        JobServer("http://lab:8265", client).follow("x", print, print)


def test_plug_ins_go_along(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve()
    (tmp_path / "mine.py").write_text("")
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(tmp_path / "mine.py"))
    JobServer("http://lab:8265", client).submit(["list"], working_folder(tmp_path))
    assert client.sent[0]["runtime_env"]["env_vars"]["RAYBRAIN_PLUGINS"] == "mine.py"
