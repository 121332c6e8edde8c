"""Training that goes wrong: back to what was saved, once, with half the learning rate; then the end."""

import json
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.cli.app import run as run_command
from charrnn.errors import NonFiniteError
from charrnn.runs.folder import RunFolder
from charrnn.runs.samples import SampleLog
from charrnn.training.trainer import StepResult, Trainer

TEXT = "the lamp by the river was lit\nand the stone was cold\n" * 60
SETTINGS: dict[str, Any] = {
    "corpus": ("text.txt",),
    "hidden_size": 12,
    "num_lanes": 4,
    "bptt_length": 8,
    "learning_rate": 0.01,
    "steps": 12,
    "evaluate_every": 4,
    "save_every": 2,
}


@pytest.fixture
def fail_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call with the numbers of the calls of `take_step` (from 1) that shall meet a loss that is not finite."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    take_step = Trainer.take_step
    num_calls = 0

    def install(*failing: int) -> None:
        def take(self: Trainer) -> StepResult:
            nonlocal num_calls
            num_calls += 1
            if num_calls in failing:
                raise NonFiniteError(f"Step {self.step + 1}: loss nan.")
            return take_step(self)

        monkeypatch.setattr(Trainer, "take_step", take)

    return install


def steps_logged(run: Path) -> list[int]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if line["event"] == "step"]


def test_the_first_time_it_goes_back_and_halves_the_rate(fail_at: Any) -> None:
    fail_at(8)
    events = list(charrnn.train(charrnn.Config(**SETTINGS), out=Path("run")))
    (warning,) = [event for event in events if event.event == "warning"]
    assert "Step 8: loss nan." in warning.message and "back to step 6" in warning.message and "0.005" in warning.message
    done = events[-1]
    assert done.event == "done" and done.is_complete and done.step == 12
    assert steps_logged(Path("run")) == list(range(1, 13)), "each step once"
    assert RunFolder(Path("run")).read_config().learning_rate == 0.005
    rates = [event.learning_rate for event in events if event.event == "step"]
    assert max(rates[7:]) <= 0.005 < max(rates[:7])


def test_the_second_time_it_ends_with_code_5_and_the_last_good_step(
    fail_at: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_at(8, 9)
    flags = [f"--set={name}={value}" for name, value in SETTINGS.items() if name != "corpus"]
    assert run_command(["train", "text.txt", "--out", "run", "--quiet", *flags]) == 5
    err = capsys.readouterr().err
    assert "loss nan" in err and len(err.splitlines()) <= 3
    assert RunFolder(Path("run")).load_step("latest", with_training=True).step == 6
    assert charrnn.load("run").sample(length=5).text


def test_nothing_saved_is_touched_by_a_failure_at_the_first_step(fail_at: Any) -> None:
    fail_at(1, 2)
    with pytest.raises(NonFiniteError):
        list(charrnn.train(charrnn.Config(**SETTINGS), out=Path("run")))
    assert RunFolder(Path("run")).steps() == ["step-00000000"]
    assert not Path("run/metrics.jsonl").exists()


def test_what_it_wrote_after_the_step_it_goes_back_to_is_written_again(fail_at: Any) -> None:
    fail_at(2)
    events = list(charrnn.train(charrnn.Config(**SETTINGS), out=Path("run")))
    assert [event.step for event in events if event.event == "sample"] == [0, 1, 1, 3, 12]
    assert SampleLog(Path("run/samples.txt")).steps() == [0, 1, 3, 12]
