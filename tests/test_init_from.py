"""`--init-from`: a new run that starts with an old one's weights and alphabet, and leaves the old one alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import TrainedRun
from fixture_types import Command
from safetensors.numpy import load_file
from synthetic import make_corpus

import charrnn
from charrnn.errors import UsageError
from charrnn.settings import from_yaml
from charrnn.training.loop import resume
from charrnn.training.plan import with_model_of

pytestmark = pytest.mark.trained

NEW_TEXT = make_corpus(num_chars=6_000, seed=5).text.replace("a", "я")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lstm: TrainedRun) -> Path:
    """A folder with a new text, and the shared run under checkpoints/."""
    monkeypatch.chdir(tmp_path)
    Path("checkpoints").mkdir()
    Path("checkpoints/old").symlink_to(lstm.path.resolve())
    Path("new.txt").write_text(NEW_TEXT, encoding="utf-8")
    return tmp_path


def test_it_starts_with_the_best_weights_and_goes_on_learning(command: Command, lab: Path, lstm: TrainedRun) -> None:
    ran = command("train", "new.txt", "--init-from", "old", "--steps", 30, "--keep", 9, "--json")
    assert ran.code == 0, ran.err
    events = [json.loads(line) for line in ran.out.splitlines()]
    run = Path(events[-1]["run"])
    old = lstm.path / (lstm.path / "best").read_text().strip()
    before, after = (load_file(folder / "model.safetensors") for folder in (old, run / "step-00000000"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (run / "vocab.json").read_bytes() == (lstm.path / "vocab.json").read_bytes()
    config, theirs = (from_yaml((each / "config.yaml").read_text(), "config.yaml") for each in (run, lstm.path))
    assert (config.hidden_size, config.cell) == (theirs.hidden_size, theirs.cell)
    assert (config.corpus, config.init_from) == (("new.txt",), "old")
    notes = events[0]["notes"]
    assert len(notes) == 1 and "characters are not in the alphabet of old: read as unknown" in notes[0], "я is new"
    losses = [event["train_nats"] for event in events if event["event"] == "step"]
    assert losses[0] < 0.8 * np.log(len(charrnn.load(run).vocab)), "the first step already knows much"
    Path("checkpoints/old").unlink()
    *_, done = resume(run, {"steps": 31})
    assert (done.event, done.step) == ("done", 31), "it needs the old run no more"


def test_another_model_is_refused_and_documents_need_a_model_of_documents() -> None:
    with pytest.raises(UsageError, match=r"^`hidden_size` is 7, but 32 in old: `init_from` keeps the model"):
        with_model_of("old", charrnn.Config(hidden_size=32), charrnn.Config(hidden_size=7))
    with pytest.raises(UsageError, match=r"^`parameters` is 3,000, but `init_from` keeps the model of old\."):
        with_model_of("old", charrnn.Config(), charrnn.Config(parameters=3_000))
    documents, text = charrnn.Config(documents="lines"), charrnn.Config()
    with pytest.raises(UsageError, match=r"^`documents` is lines, but the alphabet of old has no END symbol: train a"):
        with_model_of("old", text, documents)
    assert with_model_of("old", documents, documents).end_id == 1
    assert with_model_of("old", documents, text).end_id is None, "it goes on with an ordinary text"
    as_bytes = charrnn.Config(alphabet="byte")
    assert with_model_of("old", as_bytes, documents).end_id == 0, "every byte is in the alphabet"


def text_with(share: float) -> str:
    """The text that the old run learned, with that share of its last 500 characters replaced by new ones."""
    characters = list(make_corpus(num_chars=6_000, seed=5).text)
    places = range(len(characters))[-500:]
    for index in range(int(share * len(places))):
        characters[places[int(index / share)]] = "я"
    return "".join(characters)


def test_a_text_of_unknown_characters_is_refused(command: Command, lab: Path) -> None:
    """It would be learned as one symbol, at a loss that is excellent and says nothing. A tenth is not too many."""
    Path("new.txt").write_text(text_with(0.09), encoding="utf-8")
    assert command("train", "new.txt", "--init-from", "old", "--steps", 1, "--out", "few").code == 0
    Path("new.txt").write_text(text_with(0.9), encoding="utf-8")
    ran = command("train", "new.txt", "--init-from", "old", "--steps", 4)
    assert (ran.code, ran.out) == (3, "")
    first, second = ran.err.splitlines()
    assert re.fullmatch(
        r"error: \d\d% of the characters of the validation text are not in the alphabet of old; "
        "with --init-from at most 10% may be unknown",
        first,
    )
    assert "add them with --extend-alphabet, train without --init-from" in second and "--alphabet byte" in second
    assert sorted(path.name for path in Path("checkpoints").iterdir()) == ["old"], "nothing was begun"
    for instead in (("--hidden-size", 4), ("--init-from", "old", "--extend-alphabet")):
        assert command("train", "new.txt", "--steps", 1, *instead).code == 0, "which is what the message says"
