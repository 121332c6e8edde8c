"""Models adapted to a text by dynamic evaluation: from Python, and by sample --adapt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_runs import build_chain

import charrnn
from charrnn import api
from charrnn.config import Config
from charrnn.errors import DataError, UsageError
from charrnn.evaluation.losses import char_losses
from charrnn.lab import dynamic
from charrnn.lab.dynamic import DynamicSettings
from charrnn.model.network import CharRNN
from charrnn.text.vocab import Vocab

CYCLE = "\nabcdefg"
STRONG = DynamicSettings(learning_rate=0.01)
Command = Callable[..., Any]


def make_text(num_chars: int, seed: int = 0) -> str:
    """Draw a text of the chain's characters in which, unlike in the chain, two steps are as likely as one."""
    steps = np.random.default_rng(seed).choice([1, 2], num_chars)
    return "".join(CYCLE[place] for place in np.cumsum(steps) % len(CYCLE))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_chain(tmp_path_factory.mktemp("adapt") / "chain", CYCLE)


@pytest.fixture(scope="module")
def model(run: Path) -> api.Model:
    return charrnn.load(run)


@pytest.fixture(scope="module")
def adapted(model: api.Model) -> api.Model:
    return model.adapted(make_text(3_000), settings=STRONG)


def mean_loss(model: api.Model, text: str) -> float:
    return char_losses(model.network, model.encode(text).ids, precision="fp32").mean


def test_an_adapted_model_predicts_more_of_the_same_better(model: api.Model, adapted: api.Model) -> None:
    other = make_text(1_000, seed=1)
    assert mean_loss(adapted, other) < 0.8 * mean_loss(model, other)
    found = adapted.adaptation
    assert found is not None
    assert found.num_chars == 2_999 and found.text_length == 3_000  # nothing predicts the first character
    assert found.static_nats == pytest.approx(mean_loss(model, make_text(3_000)), rel=1e-5)
    assert found.dynamic_nats < found.static_nats


def test_the_model_itself_stays_as_it_is(run: Path, model: api.Model, adapted: api.Model) -> None:
    assert model.adaptation is None
    loaded = charrnn.load(run)
    for name, tensor in loaded.tensors.items():
        assert np.array_equal(model.tensors[name], tensor)
    assert model.sample(length=60, seed=1).text == loaded.sample(length=60, seed=1).text


def test_an_adapted_model_belongs_to_no_run(adapted: api.Model) -> None:
    assert adapted.name == "chain, adapted"
    assert adapted.path is None and adapted.step_digest is None
    assert adapted.findings.run is None


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_text_is_drawn_with_the_adapted_weights(model: api.Model, adapted: api.Model, precision: str) -> None:
    model.sample(
        length=10, seed=1, precision=precision
    )  # its steppers are kept, and are not those of the adapted model
    drawn = adapted.sample(length=200, seed=1, precision=precision)
    fresh = api.Model(adapted.config, adapted.vocab, adapted.tensors)
    assert drawn.text == fresh.sample(length=200, seed=1, precision=precision).text
    assert drawn.text != model.sample(length=200, seed=1, precision=precision).text


def test_of_a_long_text_the_end_is_learned(model: api.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "MAX_ADAPTED", 500)
    found = model.adapted(make_text(900)).adaptation
    assert found is not None
    assert (found.num_chars, found.text_length) == (500, 900)


def test_the_command_continues_the_text_with_the_adapted_model(
    run: Path, model: api.Model, command: Command, tmp_path: Path
) -> None:
    text = make_text(800)
    (tmp_path / "style.txt").write_bytes(text.encode())
    call = ("sample", run, "--adapt", tmp_path / "style.txt", "--seed", 3, "--length", 80)
    drawn = command(*call, "--temp", 1)
    assert drawn.code == 0, drawn.err
    assert "adapted to 799 characters: " in drawn.err and " while adapting" in drawn.err
    expected = model.adapted(text)
    assert drawn.out.rstrip("\n") == expected.sample(prime=text, seed=3, length=80).text.rstrip("\n")
    assert command(*call, "--temp", 1, "--quiet").err == ""
    primed = command(*call, "--temp", 1, "--prime", "ab")
    assert primed.out.rstrip("\n") == "ab" + expected.sample(prime="ab", seed=3, length=80).text.rstrip("\n")
    found = json.loads(command(*call, "--json", "--temp", 1).out)
    assert found["run"] == "chain, adapted" and found["adaptation"]["num_chars"] == 799
    assert found["text"] == expected.sample(prime=text, seed=3, length=80).text
    (beam,) = expected.beam(prime=text, length=30, width=1)
    searched = command("sample", run, "--adapt", tmp_path / "style.txt", "--beam", 1, "--length", 30, "--json")
    assert json.loads(searched.out)["text"] == beam.text
    assert "adaptation" in json.loads(searched.out)


def test_documents_are_learned_and_the_next_one_is_written(tmp_path: Path, command: Command) -> None:
    run = build_chain(tmp_path / "chain", "\0abcdefg", documents="lines")
    (tmp_path / "names.txt").write_bytes(b"acegb\ndfa\nbdf\ngac\n" * 30)
    drawn = command("sample", run, "--adapt", tmp_path / "names.txt", "--seed", 1, "--count", 2)
    assert drawn.code == 0, drawn.err
    model = charrnn.load(run).adapted("\0".join(["acegb", "dfa", "bdf", "gac"] * 30) + "\0")
    texts = [text.text for text in model.samples(2, seed=1, length=1_000, temperature=0.8)]
    assert drawn.out.split() == texts


def test_bytes_are_learned_by_a_model_of_bytes() -> None:
    sizes: dict[str, Any] = {"num_layers": 1, "hidden_size": 8, "embedding_size": 4}
    config, vocab = Config(cell="gru", alphabet="byte", **sizes), Vocab("byte", tuple(map(chr, range(256))))
    weights = {name: value.numpy() for name, value in CharRNN(config, 256).state_dict().items()}
    found = api.Model(config, vocab, weights).adapted(b"\xff\x00a" * 20, settings=STRONG).adaptation
    assert found is not None
    assert found.num_chars == 59 and found.dynamic_nats < found.static_nats


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (None, (), 3, "style.txt"),
        (b"", (), 3, "empty"),
        (b"abcabcabc", (), 3, "The text to adapt to has 9 characters; it needs at least 21."),
        (
            b"abcd" * 20 + b"xyz",
            (),
            3,
            "The text to adapt to has characters that are not in the vocabulary",
        ),
        (b"abcd" * 20, ("--unknown", "never"), 2, "--unknown"),
        (b"abcd" * 20, ("--prime", "z"), 3, "The prime has characters that are not in the vocabulary"),
        (b"abcd\xff" * 20, (), 3, "UTF-8"),
    ],
)
def test_what_cannot_be_learned_is_one_clear_error(
    run: Path,
    command: Command,
    tmp_path: Path,
    content: bytes | None,
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / "style.txt").write_bytes(content)
    found = command("sample", run, "--adapt", tmp_path / "style.txt", *options)
    assert found.code == code and message in found.err and found.out == ""
    assert len([line for line in found.err.splitlines() if line.startswith("error")]) == 1


def test_unknown_characters_are_skipped_on_request(run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "style.txt").write_bytes(b"abcdxyz" * 20)
    assert (
        "adapted to 79 characters"
        in command("sample", run, "--adapt", tmp_path / "style.txt", "--unknown", "skip", "--length", 5).err
    )


def test_standard_input_is_read_once(run: Path, command: Command) -> None:
    found = command("sample", run, "--adapt", "-", "--prime-file", "-", stdin=b"abc")
    assert found.code == 2 and "cannot both read standard input" in found.err
    text = make_text(100)
    assert "adapted to 99 characters" in command("sample", run, "--adapt", "-", "--length", 5, stdin=text.encode()).err


def test_bytes_are_refused_by_a_model_of_characters(model: api.Model) -> None:
    with pytest.raises(UsageError, match="This model reads characters, and the text is given as bytes"):
        model.adapted(b"abc" * 20)
    with pytest.raises(DataError, match="empty"):
        model.adapted("")
