"""A model that learns only what follows some characters is judged by the loss of that."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from conftest import SMALL_RUN

import charrnn
from charrnn.errors import UsageError
from charrnn.model.losses import char_losses
from charrnn.runs.overview import run_summaries


def text_of(num_lines):
    """Lines with a question mark before their last letter, which is the first one."""
    random = Random(1)
    words = ["".join(random.choices("abcd", k=9)) for _ in range(num_lines)]
    return "".join(f"{word}?{word[0]}\n" for word in words)


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(text_of(400))
    settings = {**SMALL_RUN, "steps": 6, "evaluate_every": 2, "validation_chars": None}
    config = charrnn.Config(corpus="text.txt", learned_after="?", threads=1, **settings)
    events = list(charrnn.train(config, out="run"))
    model = charrnn.load("run")
    model.events = events
    return model


def test_the_best_step_has_the_lowest_loss_of_what_is_learned(model):
    losses = {one.step: one.val_nats for one in model.events if one.event == "evaluation"}
    assert model.step == min(losses, key=losses.get)
    assert model.val_nats == losses[model.step]

    # Every character by itself.
    part = model.held_out()
    scored = char_losses(model.network, part.ids, first=part.begin)
    asked = part.ids[scored.positions - 1] == model.vocab.encode("?")[0]
    assert 0 < asked.sum() < len(asked) / 5
    assert model.val_nats == pytest.approx(np.mean(scored.nats[asked]), rel=1e-4)


def test_evaluate_and_runs_show_that_loss_and_name_it(model, command):
    report = charrnn.evaluate(model, model.held_out())
    assert report.nats_per_char == pytest.approx(model.val_nats, rel=1e-4)
    assert run_summaries(["run"])[0].best_nats == model.val_nats
    for line in ("evaluate run", "runs run"):
        assert re.search(r"follows '\?'|after '\?'", command(line).out)


@pytest.mark.parametrize(
    ("after", "words"), [("Z", "lacks 'Z'"), ("x", "validation text has none")]
)
def test_characters_after_which_nothing_is_measured_are_refused(
    after, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("xyz" * 20 + text_of(300))
    config = charrnn.Config(
        corpus="text.txt", alphabet="exact", learned_after=after, steps=2, **SMALL_RUN
    )
    with pytest.raises(UsageError, match=words):
        list(charrnn.train(config, out="run"))


def test_windows_have_the_loss_of_what_is_learned(model):
    part = model.held_out()
    report = charrnn.evaluate(model, part, protocol="windowed-256")
    assert report.num_chars < 256 * 1024 / 5
    assert report.nats_per_char == pytest.approx(model.val_nats, rel=0.2)


@pytest.mark.parametrize("text", [None, text_of(30)], ids=["held out", "given"])
def test_a_line_has_the_loss_of_what_is_learned_in_it(model, text):
    lines = list(charrnn.losses_by_line([model], text))
    assert len(lines) >= 30 and {line.num_chars for line in lines} == {1}
    whole = charrnn.evaluate(model, model.held_out() if text is None else text)
    mean = np.mean([line.nats[0] for line in lines])
    assert mean == pytest.approx(whole.nats_per_char, rel=1e-3)


def test_lines_of_different_losses_are_not_listed_side_by_side(model):
    other = charrnn.load("run")
    other.config = replace(other.config, learned_after=None)
    with pytest.raises(UsageError, match="cannot be listed side by side"):
        charrnn.losses_by_line([model, other])
