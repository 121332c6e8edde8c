"""Counting a text at the end of a training: what is held back, what is logged and shown, what can go
wrong, and that sampling and evaluating use the counts.

Tests `counts`, `counts.writers` and `counts.writing`, too.
"""

import json
import re
from dataclasses import replace
from itertools import pairwise
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SMALL_RUN, as_json, copy_run
from drawn import lines
from saved_runs import forge_description, hidden, metrics_of
from synthetic import make_corpus

import charrnn
from charrnn.config.settings import Config
from charrnn.counts import contexts, counting
from charrnn.counts.counts_file import write_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.errors import CharRNNError, UsageError
from charrnn.evaluation import log_probability
from charrnn.generation.distribution import log_softmax
from charrnn.runs.checkpoint import COUNTS_FILE
from charrnn.runs.config_files import seal
from charrnn.runs.writer import RunWriter
from charrnn.text.pieces import NUM_PIECES, held_back_pieces
from charrnn.training import recipe
from charrnn.training.run_text import read_text
from charrnn.views.tables import evaluation_view

pytestmark = pytest.mark.trained

PAGE = Path(__file__).parents[2] / "docs" / "use" / "training.md"
"""The page with the table of writers."""

TEXT = make_corpus(num_chars=8_000).text[:8_000]
"""7,200 characters of it are trained on."""
SETTINGS = {**SMALL_RUN, "hidden_size": 128, "steps": 4, "threads": 1}
FLAGS = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


@pytest.fixture(autouse=True)
def text_file(tmp_path):
    """The text, in the folder of each test."""
    (tmp_path / "text.txt").write_bytes(TEXT.encode())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 128 units, whose text was counted, and the events of its training."""
    return events_of(tmp_path_factory.mktemp("counting"), lambda events: False)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run, to be changed."""
    return copy_run(trained[0], tmp_path / "run")


def train(folder, text=TEXT, name="run", **changes):
    """Train a run in a folder; return it with its last event."""
    (folder / f"{name}.txt").write_bytes(text.encode())
    config = Config(corpus=(str(folder / f"{name}.txt"),), **{**SETTINGS, **changes})
    *_, done = charrnn.train(config, out=folder / name)
    return folder / name, done


def test_the_last_event_and_the_log_have_the_loss_of_both(trained):
    run, events = trained
    done = events[-1]
    assert 0 < done.with_counts_nats < done.best_nats
    assert metrics_of(run)[-1] == {
        "event": "counts",
        "step": 4,
        "with_counts_nats": done.with_counts_nats,
    }
    assert charrnn.load(run).config.held_back == recipe.MIN_HELD_BACK


def test_the_loss_is_that_of_evaluate_and_of_the_table_of_runs(trained):
    run, events = trained
    model = charrnn.load(run)
    found = charrnn.evaluate_runs([model], by=("windowed-256",), ngrams=(1,))
    rows = {(row.name, row.loss.protocol): row.loss.nats_per_char for row in found.rows}
    assert rows["run", "stateful"] == pytest.approx(events[-1].best_nats, rel=1e-6)
    assert rows["run with counts", "stateful"] == pytest.approx(
        events[-1].with_counts_nats, rel=1e-6
    )
    [summary] = charrnn.run_summaries([run])
    assert summary.with_counts_nats == events[-1].with_counts_nats
    # The mixture has the advantage of both: it is fitted on the same kind of text.
    for protocol in ("stateful", "windowed-256"):
        alone = (rows["run", protocol], rows["counts alone", protocol])
        assert rows["run with counts", protocol] < min(alone) + 0.02


def test_the_row_of_counts_alone_is_their_n_gram_model(trained):
    run, _ = trained
    model = charrnn.load(run)
    found = charrnn.evaluate_runs([model], "The quick text, read by counts alone." * 9, ngrams=(1,))
    [row] = [row for row in found.rows if row.name == "counts alone"]
    ids = model.vocab.encode("The quick text, read by counts alone." * 9)
    counted = model.vocab.encode(TEXT[:7_200])
    nats = NgramModel.fit(counted, len(model.vocab), counting.ORDER).char_nats(
        ids, np.arange(1, len(ids))
    )
    escapes = model.vocab.escape_nats * np.mean(ids[1:] == 0)
    assert row.loss.nats_per_char == pytest.approx(nats.mean() + escapes, rel=1e-5)


def test_runs_are_compared_and_a_model_with_counts_or_a_mixture_is_none(trained):
    together = charrnn.load(trained[0]).with_counts()
    for model in (together, charrnn.mix([together, together.model])):
        with pytest.raises(UsageError, match="give a mixture as `mixtures`"):
            charrnn.evaluate_runs([model], "A text.")


def test_a_row_with_counts_stands_below_its_run(trained, tmp_path):
    models = [charrnn.load(trained[0]), charrnn.load(copy_run(trained[0], tmp_path / "other"))]
    table = lines(evaluation_view(charrnn.evaluate_runs(models, TEXT[:3_000])), width=80)
    names = [line[1:15].strip() for line in table[4:12] if not line.startswith("    ")]
    assert names == ["run", "… with counts", "other", "… with counts"]


def test_what_a_run_was_trained_on_is_noted_once(trained):
    run, _ = trained
    found = charrnn.evaluate_runs([charrnn.load(run)], TEXT[:3_000])
    [note] = [note for note in found.notes if "was trained on" in note]
    assert note.startswith("run was trained on 100 % of this text.")
    without = charrnn.evaluate_runs([charrnn.load(run)], TEXT[:3_000], counts=False)
    assert {row.name for row in without.rows} == {"run"}


def test_the_command_prints_both_losses(command, tmp_path):
    ran = command("train", "text.txt", *FLAGS)
    assert ran.code == 0
    lines = ran.err[ran.err.index("Done: ") :].splitlines()
    [done] = [line for line in metrics_of(tmp_path / ran.out.strip()) if line["event"] == "counts"]
    assert lines[0].endswith(" nats/character, at step 4.")
    assert lines[1] == (
        "Together with n-grams counted in the training text:"
        f" {done['with_counts_nats']:.4f} nats/character."
    )
    assert max(map(len, lines[:2])) <= 80

    [row] = as_json(command("runs", "--json"))
    assert row["with_counts_nats"] == done["with_counts_nats"]
    assert f"{done['with_counts_nats']:.4f}" in command("runs").out
    names = [row["name"] for row in as_json(command("evaluate", "--json"))["rows"]]
    assert names == ["text-001", "text-001 with counts"]


def test_an_exported_model_writes_without_the_counts_and_export_says_what_that_costs(
    trained, command, tmp_path
):
    run, _ = trained
    said = " ".join(command("export", run, tmp_path / "model.zip").err.split())
    assert "counts.safetensors contains the training text" in said
    (summary,) = charrnn.run_summaries([run])
    assert f"in place of {summary.with_counts_nats:.4f} nats per character" in said
    assert "counts" not in command("export", run, tmp_path / "b.zip", "--quiet").err
    drawing = ("--seed", "1", "--length", "300", "--temp", "1.5")
    of_file = command("sample", tmp_path / "model.zip", *drawing).out
    assert of_file == command("sample", run, *drawing, "--no-counts").out
    assert of_file != command("sample", run, *drawing).out
    assert "counts" not in command("export", tmp_path / "model.zip", tmp_path / "c.zip").err


@pytest.mark.parametrize("name", ["model.zip", "model/"])
def test_an_exported_model_may_have_the_counts_and_then_writes_with_them(
    trained, command, tmp_path, name
):
    run, _ = trained
    file, again = f"{tmp_path}/{name}", f"{tmp_path}/again.zip"
    drawing = ("--seed", "1", "--length", "300", "--temp", "1.5")
    for model, written in ((run, file), (file, again)):
        said = command("export", model, written, "--with-counts").err
        assert "Give it away only if you may give the text away" in " ".join(said.split())
        assert command("sample", written, *drawing).out == command("sample", run, *drawing).out
    alone = command("sample", run, *drawing, "--no-counts").out
    assert command("sample", file, *drawing, "--no-counts").out == alone


def test_counts_that_are_exported_again_without_them_are_removed(trained, tmp_path):
    model = charrnn.load(trained[0])
    folder = model.export(f"{tmp_path}/model/", with_counts=True)
    assert (folder / COUNTS_FILE).exists()
    model.export(folder, force=True)
    assert not (folder / COUNTS_FILE).exists()
    with pytest.raises(UsageError, match="has no counts of its training text"):
        charrnn.load(folder).export(tmp_path / "again.zip", with_counts=True)


def test_counts_of_an_exported_model_that_were_changed_are_not_used(trained, command, tmp_path):
    folder = charrnn.load(trained[0]).export(f"{tmp_path}/model/", with_counts=True)
    path = folder / COUNTS_FILE
    path.write_bytes(path.read_bytes() + b"x")
    ran = command("sample", folder, "--length", 20, "--seed", 1, "--json")
    assert json.loads(ran.out)["writer"] == "network"
    assert "counts.safetensors is damaged" in ran.err


def test_python_writes_the_text_of_the_command_with_its_counts_and_its_temperature(
    trained, command
):
    run, _ = trained
    model = charrnn.load(run).with_counts()
    text = model.sample(length=300, temperature=0.8, seed=1).text
    assert command("sample", run, "--seed", "1", "--length", "300").out.rstrip("\n") == text.rstrip(
        "\n"
    )


def test_the_note_of_evaluate_says_that_documents_are_written_without_counts(trained):
    run, _ = trained
    evaluation = charrnn.evaluate_runs([charrnn.load(run)], TEXT[:3_000])
    shown = " ".join(" ".join(lines(evaluation_view(evaluation))).split())
    assert "`sample` writes running text; it writes documents with the network alone." in shown


@pytest.mark.parametrize(
    "text, changes",
    [
        (TEXT, {"hidden_size": 127}),
        (TEXT[:5_500], {}),
        (TEXT, {"held_back": 0}),
    ],
    ids=["a small network", "a short text", "nothing held back"],
)
def test_nothing_is_counted_of(tmp_path, text, changes):
    run, done = train(tmp_path, text, **changes)
    assert done.with_counts_nats is None
    assert not (run / COUNTS_FILE).exists()
    assert "counts" not in [line["event"] for line in metrics_of(run)]
    assert charrnn.load(run).config.held_back == 0


def test_a_small_network_is_counted_where_that_is_asked_for(tmp_path):
    for held_back in (100, 3_600):
        run, done = train(
            tmp_path, name=f"run-{held_back}", hidden_size=4, held_back=held_back, steps=1
        )
        assert 0 < done.with_counts_nats < done.best_nats
        assert charrnn.load(run).config.held_back == held_back
        counts = charrnn.load(run).with_counts().counts
        assert len(counts.predictor.contexts.ids) == 7_200


@pytest.mark.parametrize(
    "held_back, reason",
    [
        (
            3601,
            "error: held_back is 3,601, and the training text has 7,200 characters. Hold back at"
            " most half of them, or 0.\n",
        ),
        (99, "at least 100"),  # fewer say nothing of powers
    ],
)
def test_more_than_half_of_the_text_or_a_few_characters_are_refused(
    command, tmp_path, held_back, reason
):
    ran = command("train", "text.txt", *FLAGS, "--set", f"held_back={held_back}")
    ran.assert_refused(2, f"held_back is {held_back:,}", reason)
    assert not (tmp_path / "checkpoints").exists()


def ids_with_ends(ends):
    """Ids of 8,000 characters of documents, which end before the positions `ends`."""
    ids = np.ones(8_000, np.uint8)
    ids[np.append(ends, 8_000).astype(np.int64) - 1] = 0
    return ids


SHORT = np.arange(20, 8_000, 20)
"""Where the documents of a text of 8,000 characters end, before the last one."""
LONG = np.array([40, 460, 520, 700, 1_300, 6_000])


@pytest.mark.parametrize(
    "asked, ends, expected",
    [
        ("auto", SHORT, 500),
        ("auto", LONG, 500),
        (0, LONG, 0),
        ("auto", np.array([801, 900]), 0),
        ("auto", np.zeros(0), 0),
        (1_301, LONG, 1_301),
        (3_001, LONG, "is 3,001, 6,000 with the rest of the documents, and the training text"),
        (6_001, LONG, "is 6,001, 7,540 with the rest of the documents, and the training text"),
        (4_001, SHORT, "is 4,001, 4,0.. with the rest of the documents, and the training text"),
    ],
)
def test_a_text_holds_back_documents_if_it_can_spare_them(asked, ends, expected):
    config = Config(held_back=asked, steps=9, documents="lines", alphabet="byte")
    config = recipe.choose_sizes(config, 8_000)
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            recipe.choose_held_back(config, ids_with_ends(ends))
    else:
        assert recipe.choose_held_back(config, ids_with_ends(ends)).held_back == expected


def test_at_most_half_of_a_text_is_held_back():
    config = recipe.choose_sizes(Config(held_back=4_001, steps=9), 8_000)
    with pytest.raises(UsageError, match="is 4,001, and the training text has 8,000 characters"):
        recipe.choose_held_back(config, np.ones(8_000, np.uint8))


@pytest.mark.parametrize(
    "num_chars, expected",
    [(4_999, 0), (5_000, 500), (50_000, 500), (120_000, 1_200), (10**8, 20_000)],
)
def test_a_hundredth_of_the_text_is_held_back_within_limits(num_chars, expected):
    config = recipe.choose_sizes(Config(steps=9), num_chars)
    ids = np.broadcast_to(np.uint8(1), num_chars)
    assert recipe.choose_held_back(config, ids).held_back == expected


def test_documents_are_held_back_as_a_whole(tmp_path):
    lines = "".join(f"{word} and {word[::-1]}\n" for word in TEXT.split() * 2)
    run, done = train(tmp_path, lines, documents="lines")
    model = charrnn.load(run)
    training = model.training_text()
    ids = training.ids[: training.end]
    assert model.config.held_back == max(500, training.end // recipe.HELD_BACK_PART)
    pieces = held_back_pieces(ids, model.config.held_back, model.config.end_id)
    assert len(pieces) == NUM_PIECES
    assert {ids[piece.start - 1] for piece in pieces} == {model.config.end_id}
    assert {ids[piece.stop - 1] for piece in pieces} == {model.config.end_id}
    text = model.with_counts().sample(seed=1)
    assert text.has_ended in (True, False) and done.with_counts_nats > 0


def test_the_network_never_reads_what_is_held_back_and_the_powers_are_fitted_to_it(
    tmp_path, trained
):
    """The same characters in another order: the alphabet stays."""
    text = list(TEXT)
    for piece in held_back_pieces(np.zeros(7_200, np.uint8), 500, None):
        text[piece] = text[piece][::-1]
    other, _ = train(tmp_path, "".join(text))
    networks = [charrnn.load(run).tensors for run in (other, trained[0])]
    for name, tensor in networks[0].items():
        assert tensor.tobytes() == networks[1][name].tobytes()
    found = charrnn.load(other).with_counts().counts
    expected = charrnn.load(trained[0]).with_counts().counts
    assert not np.array_equal(found.predictor.contexts.ids, expected.predictor.contexts.ids)
    assert not np.array_equal(found.powers.values, expected.powers.values)


def events_of(tmp_path, should_stop):
    """Train a run that is asked to stop by `should_stop` of the events so far; return it with its
    events."""
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    config = Config(corpus=(str(tmp_path / "text.txt"),), **SETTINGS)
    events = []
    events.extend(
        charrnn.train(config, out=tmp_path / "run", should_stop=lambda: should_stop(events))
    )
    return tmp_path / "run", events


def test_a_run_that_was_stopped_has_no_counts_until_it_is_resumed(tmp_path, command, trained):
    run, events = events_of(tmp_path, lambda events: len(events) > 3)
    assert not events[-1].is_complete and not (run / COUNTS_FILE).exists()
    ran = command("sample", run, "--length", 30, "--seed", 1)
    assert ran.notes == (
        f"warning: run has no counts of its training text. charrnn train --resume {run} counts it."
        " The network writes alone.\n"
    )
    assert command("sample", run, "--length", 30, "--seed", 1, "--no-counts").notes == ""

    *_, done = charrnn.resume(run)
    assert done.with_counts_nats == trained[1][-1].with_counts_nats
    assert (run / COUNTS_FILE).read_bytes()[-3_000:] == (
        (trained[0] / COUNTS_FILE).read_bytes()[-3_000:]
    )


@pytest.mark.parametrize("phase", ["counts_of_counts", "find_frequent"])
def test_a_stop_while_the_text_is_counted_ends_that_and_keeps_the_network(
    tmp_path, monkeypatch, phase
):
    """A stop between two sorts, or between two orders, is not asked for only at the end."""
    with monkeypatch.context() as here:
        here.setattr(contexts, phase, lambda *_, **__: pytest.fail("the stop comes too late"))
        is_sorted = phase == "counts_of_counts"
        sort = contexts.sort_contexts

        def sort_and_note(*arguments, **options):
            nonlocal is_sorted
            found = sort(*arguments, **options)
            is_sorted = True
            return found

        here.setattr(contexts, "sort_contexts", sort_and_note)
        run, events = events_of(
            tmp_path,
            lambda events: is_sorted and any(event.event == "evaluation" for event in events),
        )
    assert not events[-1].is_complete and events[-1].step == 4
    assert not (run / COUNTS_FILE).exists() and charrnn.load(run).step == 4
    *_, done = charrnn.resume(run)
    assert done.is_complete and done.with_counts_nats < done.best_nats


def test_a_mixture_with_counts_is_evaluated_on_the_held_out_text(trained, monkeypatch):
    monkeypatch.setattr("charrnn.evaluation.comparison.MIN_VALUES", 700)
    model = charrnn.load(trained[0])
    evaluation = charrnn.evaluate_runs([model], mixtures=[charrnn.mix([model.with_counts()])])
    [loss] = [
        row.loss.nats_per_char
        for row in evaluation.rows
        if row.name == "mixture" and row.loss.protocol == "stateful"
    ]
    assert loss == pytest.approx(trained[1][-1].with_counts_nats, rel=1e-3)


def test_a_process_that_is_killed_while_it_writes_counts_leaves_none(process, tmp_path):
    code = (
        "import os, sys\n"
        "from charrnn.commands.app import run\n"
        "from charrnn.system import files\n"
        "write = files.write_synced\n"
        "def write_or_die(path, data):\n"
        "    write(path, data[:999] if 'counts' in path.name else data)\n"
        "    if 'counts' in path.name:\n"
        "        os.kill(os.getpid(), 9)\n"
        "files.write_synced = write_or_die\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    ran = process("-c", code, "train", "text.txt", *FLAGS, "--out", "killed")
    assert ran.returncode == -9 and hidden(tmp_path / "killed")
    assert not (tmp_path / "killed" / COUNTS_FILE).exists()
    list(charrnn.resume(tmp_path / "killed"))
    assert charrnn.load(tmp_path / "killed").with_counts().counts
    assert hidden(tmp_path / "killed") == []


def test_a_resumed_run_counts_again_and_a_longer_one_forgets_the_loss_of_before(run):
    (run / COUNTS_FILE).unlink()
    *_, again = charrnn.resume(run)
    assert (run / COUNTS_FILE).exists()
    [summary] = charrnn.run_summaries([run])
    assert summary.with_counts_nats == again.with_counts_nats
    *_, cut = charrnn.resume(run, {"steps": 9}, should_stop=lambda: cut_at(run, 6))
    assert not cut.is_complete
    [summary] = charrnn.run_summaries([run])
    assert summary.with_counts_nats is None


def cut_at(run, step):
    return metrics_of(run)[-1]["step"] >= step


def out_of_memory(*_, **__):
    raise MemoryError


def on_a_full_disk(*_, **__):
    raise CharRNNError("cannot write counts.safetensors: No space left on device")


def without_memory_of_torch(*_, **__):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    "name, fault, reason",
    [
        ("fit_counts", out_of_memory, "there is too little memory"),
        (
            "write_counts",
            on_a_full_disk,
            "cannot write counts.safetensors: No space left on device",
        ),
        ("stateful_scores", without_memory_of_torch, "can't allocate memory"),
    ],
)
def test_what_fails_while_the_text_is_counted_is_a_warning(
    command, tmp_path, monkeypatch, name, fault, reason
):
    monkeypatch.setattr(counting, name, fault)
    ran = command("train", "text.txt", *FLAGS)
    assert (ran.code, ran.out) == (0, "checkpoints/text-001\n")
    [warning] = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: The network is saved, but its text could not be counted: ")
    assert reason in warning
    assert warning.endswith(
        "When that is mended, count it with: charrnn train --resume checkpoints/text-001"
    )
    assert "Best validation loss" in ran.err and "Together" not in ran.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "Together with n-grams" in command("train", "--resume", "text-001").err


def test_without_numba_python_counts_a_short_text_and_writes_the_same(process, tmp_path, command):
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from charrnn.commands.app import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    ran = process("-c", code, "train", "text.txt", *FLAGS)
    assert ran.returncode == 0 and "could not be counted" not in ran.stderr.decode()
    line = ("sample", tmp_path / "checkpoints" / "text-001", "--length", "60", "--seed", "1")
    ran = process("-c", code, *map(str, line))
    assert (ran.returncode, ran.stderr) == (0, b"written by: network and counts\n")
    assert ran.stdout.decode() == command(*line).out


def test_without_numba_a_long_text_is_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "can_compile", lambda: False)
    monkeypatch.setattr(counting, "MOST_CHARS_OF_PYTHON", 1_000)
    run, events = events_of(tmp_path, lambda events: False)
    [warning] = [event.message for event in events if event.event == "warning"]
    assert "could not be counted" in warning and "numba" in warning
    assert events[-1].is_complete and not (run / COUNTS_FILE).exists()


def edit_config(run, before, after):
    """Replace a line of the configuration, and seal it again."""
    _, text = (run / "config.yaml").read_text().split("\n", 1)
    assert before in text
    forge_description(RunWriter(run), "config.yaml", seal(text.replace(before, after)))


def test_a_run_of_before_has_no_counts_and_says_nothing(run, command):
    (run / COUNTS_FILE).unlink()
    edit_config(run, "held_back: 500\n", "")
    assert charrnn.load(run).config.held_back == 0
    ran = command("sample", run, "--length", 30, "--seed", 1)
    assert (ran.code, ran.err) == (0, "")
    names = {row["name"] for row in as_json(command("evaluate", run, "--json"))["rows"]}
    assert names == {"run"}
    *_, done = charrnn.resume(run, {"steps": 6})
    assert done.is_complete and done.with_counts_nats is None


def test_a_damaged_configuration_that_holds_back_all_is_refused(run):
    edit_config(run, "held_back: 500\n", "held_back: 7200\n")
    with pytest.raises(CharRNNError, match=r"config.yaml is damaged"):
        list(charrnn.resume(run))


def options(*lines):
    return [line.split() for line in lines]


@pytest.mark.parametrize(
    "arguments",
    options(
        "--temp 0.3",
        "--top-k 3 --top-p 0.9 --min-p 0.05",
        "--ban aeiou",
        "--match [a-z]+(,[a-z]+)*",
        "--beam 3",
        "--clamp 0:5=0.9",
        "--stop a",
        "--no-copy 5",
        "--prime the",
    ),
    ids=lambda arguments: arguments[0],
)
def test_each_option_draws_from_what_both_predict(command, trained, arguments):
    run, _ = trained
    line = ["sample", run, "--length", 30, "--json", *arguments]
    if "--beam" not in arguments:
        line += ["--seed", 1]
    found = command(*line)
    alone = command(*line, "--no-counts")
    assert (found.code, alone.code) == (0, 0)
    drawn = json.loads(found.out.splitlines()[0])
    drawn_alone = json.loads(alone.out.splitlines()[0])
    writers = (drawn.pop("writer"), drawn_alone.pop("writer"))
    assert writers == ("network and counts", "network")
    assert drawn != drawn_alone


def test_documents_are_written_by_the_network_alone_unless_counts_are_asked_for(command, tmp_path):
    lines = TEXT.replace("\n", "", 1)
    run, _ = train(tmp_path, lines, documents="lines")
    line = ("sample", run, "--length", 20, "--seed", 1, "--json")
    assert json.loads(command(*line).out)["writer"] == "network"
    assert json.loads(command(*line, "--counts").out)["writer"] == "network and counts"
    assert command(*line, "--counts", "--no-counts").code == 2
    (run / "counts.safetensors").unlink()
    assert "has no counts" in command(*line, "--counts").err


def test_damaged_counts_that_are_asked_for_are_an_error_and_nothing_else(command, run):
    (run / "counts.safetensors").write_bytes(b"no counts")
    ran = command("predict", run, "the", "--counts")
    assert ran.code == 4 and "is damaged" in ran.err
    assert "writes alone" not in ran.err
    assert "writes alone" in command("predict", run, "the").err


@pytest.mark.parametrize(
    "changed", [(), ("--clamp", "0:5=1"), ("--prime", "the Ж", "--unknown", "nearest")]
)
def test_a_text_is_traced_with_the_model_that_wrote_it(command, trained, changed):
    line = ("sample", trained[0], "--beam", 2, "--length", 20, "--trace", "--json", *changed)
    told = as_json(command(*line))
    together = told["provenance"]["characters"]["together"]
    assert sum(together) == pytest.approx(told["logprob"], abs=1e-4)


def test_log_probabilities_are_those_of_the_mixture(trained):
    model = charrnn.load(trained[0]).with_counts()
    text = model.sample(length=40, seed=3, prime="the", top_k=4)
    stepper = model.generator.model_for("int8", {})
    logits, state = stepper.read(model.vocab.encode("the"))
    for character, logprob in zip(model.vocab.encode(text.text), text.logprobs, strict=True):
        assert logprob == pytest.approx(log_softmax(logits)[0, character], abs=1e-9)
        logits, state = stepper.step(np.array([character]), state)


def test_several_temperatures_and_texts_and_colours(command, trained):
    run, _ = trained
    several = command("sample", run, "--length", 20, "--seed", 1, "--temp", "0.2,0.9")
    cold = command("sample", run, "--length", 20, "--seed", 1, "--temp", 0.2)
    assert several.code == 0 and cold.out.strip("\n") in several.out
    lines = command("sample", run, "--length", 20, "--seed", 1, "--count", 3, "--json").out
    texts = [json.loads(line) for line in lines.splitlines()]
    assert [one["writer"] for one in texts] == ["network and counts"] * 3
    line = ["sample", run, "--length", 20, "--seed", 1, "--color", "0:5"]
    ran = command(*line, "--export", "coloured.html")
    assert (ran.code, ran.err) == (0, "written by: network and counts\n")


def test_a_mixture_is_one_of_networks_with_their_counts(command, trained, run):
    line = ("sample", trained[0], "--mix", run, "--length", 20, "--seed", 1, "--json")
    writers = [part["writer"] for part in as_json(command(*line))["mix"]]
    alone = [part["writer"] for part in as_json(command(*line, "--no-counts"))["mix"]]
    assert writers == ["network and counts"] * 2 and alone == ["network"] * 2
    assert as_json(command(*line))["writer"] == "network and counts"
    assert as_json(command(*line, "--no-counts"))["writer"] == "network"
    both = charrnn.mix([charrnn.load(path).with_counts() for path in (trained[0], run)])
    assert as_json(command(*line))["text"] == both.sample(length=20, seed=1, temperature=0.8).text


def test_an_adapted_network_writes_alone_because_the_counts_are_of_another_text(
    command, trained, tmp_path
):
    (tmp_path / "more.txt").write_text(TEXT[1_000:2_000])
    line = ["sample", trained[0], "--adapt", "more.txt", "--length", 20, "--seed", 1, "--json"]
    assert json.loads(command(*line).out) == json.loads(command(*line, "--no-counts").out)


def test_a_model_file_has_no_counts_and_says_nothing(command, trained):
    assert command("export", trained[0], "model.zip").code == 0
    ran = command("sample", "model.zip", "--length", 20, "--seed", 1, "--json")
    assert (ran.code, as_json(ran)["writer"]) == (0, "network")


def test_dynamic_evaluation_has_a_row_with_growing_counts(trained):
    model = charrnn.load(trained[0])
    found = charrnn.evaluate_runs([model], dynamic=True)
    rows = {(row.name, row.loss.protocol): row for row in found.rows}
    alone = rows[model.name, "dynamic"]
    together = rows[f"{model.name} with counts", "dynamic"]
    assert together.loss.num_chars == alone.loss.num_chars
    assert together.loss.nats_per_char < alone.loss.nats_per_char


def test_the_end_of_a_long_training_text_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "COUNTED_CHARS", 3_000)
    run, _ = train(tmp_path)
    model = charrnn.load(run)
    training = model.training_text()
    counted = model.with_counts().counts.predictor.contexts.ids
    assert counted.tolist() == training.ids[training.end - 3_000 : training.end].tolist()


def test_a_budget_in_minutes_keeps_time_for_counting():
    config = Config(held_back=500, hidden_size=128)
    assert recipe.counting_seconds(replace(config, held_back=0), 10**6, 10**5) == 0
    assert recipe.counting_seconds(config, 10**6, 90_000) == pytest.approx(2 + 2 + 1)
    most = recipe.counting_seconds(config, recipe.COUNTED_CHARS, recipe.MIN_VALIDATION_CHARS)
    assert recipe.counting_seconds(config, 10**9, 10**8) == most


CONTENTS = "".join(f"Chapter {number} {'. ' * 9} {3 * number}\n" for number in range(30, 60))[:700]
"""A table of contents."""


def test_powers_do_not_depend_on_where_the_contents_stand(tmp_path):
    """A tenth of the text is unlike the rest of it."""
    losses = []
    for name, at in (("first", 0), ("middle", 3_300)):
        text = TEXT[:at] + CONTENTS + TEXT[at:]
        _, done = train(tmp_path, text, name=name)
        losses.append(done.with_counts_nats)
    assert abs(losses[0] - losses[1]) < 0.02


@pytest.mark.parametrize(
    "network_nats, counts_nats, is_used, powers",
    [
        (0.4, 0.45, False, None),
        (0.4, 0.3, True, (0, 1)),
        (9.0, 0.3, True, (0, 1)),
        (9, 9, True, None),
    ],
)
def test_what_predicts_best_alone_is_recorded_as_the_writer(
    run, monkeypatch, network_nats, counts_nats, is_used, powers
):
    """The validation losses are replaced; that of both together is 0.5."""
    model = charrnn.load(run)
    fitted = model.with_counts().counts.powers.values
    nats = iter([0.5, counts_nats])
    monkeypatch.setattr(
        counting,
        "stateful_scores",
        lambda *_, **__: SimpleNamespace(losses=SimpleNamespace(mean=next(nats))),
    )
    text = read_text(model.config, model.vocab)
    found = counting.count_text(
        run,
        text.ids[: text.num_before_test],
        counted=slice(text.first_counted(model.config), text.num_train),
        held_back=text.held_back(model.config),
        network_nats=network_nats,
        should_stop=lambda: False,
    )
    assert found == (0.5, counts_nats)
    counts = model.with_counts().counts
    assert counts.is_used is is_used
    expected = fitted if powers is None else np.tile(powers, (len(fitted), 1))
    assert counts.powers.values.tolist() == expected.tolist()


@pytest.mark.parametrize("counts_nats, writer", [(7.0, "network"), (0.1, "counts")])
def test_training_warns_where_both_together_are_worse(run, monkeypatch, counts_nats, writer):
    losses = counting.CountedLosses(8.0, counts_nats)
    monkeypatch.setattr(counting, "count_text", lambda *_, **__: losses)
    *_, warning, done = charrnn.resume(run)
    better = min(counts_nats, done.best_nats)
    assert warning.message == (
        "The network and the counts together predict the validation text worse than the"
        f" {writer} alone (8.0000 and {better:.4f} nats/character), so the {writer} will write"
        " alone."
    )
    assert done.with_counts_nats == 8.0


def test_the_network_writes_alone_where_it_predicts_better_unless_counts_are_asked_for(
    command, run
):
    model = charrnn.load(run)
    counts = model.with_counts().counts._replace(is_used=False)
    write_counts(run, counts, digest=model.step_digest)
    line = ("sample", run, "--length", 20, "--seed", 1, "--json")
    assert as_json(command(*line)) == as_json(command(*line, "--no-counts"))
    assert as_json(command(*line, "--counts"))["writer"] == "network and counts"


def test_counts_beside_another_model_of_the_same_text_are_not_used(tmp_path, trained):
    """Their powers are fitted to another network, and another split may have counted its text."""
    other, _ = train(tmp_path, TEXT, seed=5)
    (other / COUNTS_FILE).write_bytes((trained[0] / COUNTS_FILE).read_bytes())
    with pytest.raises(CharRNNError, match="another model or another step"):
        charrnn.load(other).with_counts()


def test_writing_with_counts_imports_no_torch(process, trained):
    code = (
        "import sys\n"
        "from charrnn.commands.app import run\n"
        "code = run(sys.argv[1:])\n"
        "sys.exit(9 if 'torch' in sys.modules else code)"
    )
    ran = process("-c", code, "sample", str(trained[0]), "--length", "5", "--seed", "1")
    assert (ran.returncode, ran.stderr) == (0, b"written by: network and counts\n")


def test_a_model_with_counts_is_copied_to_other_processes_and_has_probabilities(
    tmp_path, monkeypatch
):
    names = "\n".join(line[:12].strip() for line in TEXT.split("\n") if line.strip())
    path, _ = train(tmp_path, text=names * 5, documents="lines")
    together = charrnn.load(path).with_counts()
    listed = names.split("\n")[:4]
    alone = [together.logprob(name) for name in listed]
    # All documents are read at once: one after the other, a thousand take 11 seconds.
    monkeypatch.setattr(log_probability, "_nats_of_text", None)
    assert together.logprob(listed) == pytest.approx(alone, abs=1e-6)
    # Empty documents are no run of the same character, in which the network predicts alone.
    assert together.logprob([""] * 6) == pytest.approx([together.logprob("")] * 6, abs=1e-6)
    both = charrnn.mix([charrnn.load(path), together])
    assert both.logprob(listed) == pytest.approx([both.logprob(name) for name in listed], abs=1e-6)
    copy = ForkingPickler.loads(ForkingPickler.dumps(together))
    assert copy.sample(length=20, seed=1) == together.sample(length=20, seed=1)
    assert copy.logprob(listed) == pytest.approx(alone, abs=1e-6)


def test_the_order_of_documents_does_not_change_their_loss_with_counts(tmp_path):
    """By the network and the counts together, by the counts alone and by growing counts."""
    words = TEXT.split()
    names = [f"{word}{other}" for word, other in pairwise(words)]
    run, _ = train(tmp_path, "\n".join(names), documents="lines", held_back=200)
    model = charrnn.load(run)
    losses = []
    for documents in (names[:90], names[:90][::-1], sorted(names[:90])):
        text = "".join(f"{document}\0" for document in documents)
        found = charrnn.evaluate_runs([model], text, ngrams=[4])
        rows = [row for row in found.rows if row.loss.protocol in ("stateful", "4-gram")]
        losses.append([row.loss.nats_per_char for row in rows])
    assert len(losses[0]) >= 3
    # The losses of characters are kept in float32.
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)


ROWS = re.findall(r"^\| `charrnn (.*)` \| (.*) \| .* \|$", PAGE.read_text("utf-8"), re.MULTILINE)
"""The rows of the table of writers that are commands, and their writers."""


@pytest.mark.parametrize(
    "line, writer", [row for row in ROWS if row[0].startswith(("sample", "predict"))]
)
def test_the_writer_of_each_command_is_that_of_the_page(line, writer, command, trained, run):
    if "--numbers" in line:
        assert command("predict", trained[0], "the", "--numbers", "--counts").code == 2
        return
    words = {"RUN": trained[0], "OTHER": run, "FILE": "more.txt", "TEXT": "the"}
    Path("more.txt").write_text(TEXT[1_000:2_000])
    if "DOCUMENTS" in line:
        text = TEXT.replace("\n", "", 1)
        words["DOCUMENTS"], _ = train(Path.cwd(), text, name="lines", documents="lines")
    ran = command(*[words.get(word, word) for word in line.split()], "--json")
    shown = json.loads(ran.out.splitlines()[0])
    first = shown[0] if isinstance(shown, list) else shown.get("mix", [shown])[0]
    assert first["writer"] == writer


def test_the_page_has_all_rows():
    assert len(ROWS) >= 9
