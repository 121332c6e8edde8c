"""`charrnn visualize` as a whole: the table, the pictures, the figures behind them, and the same for others.

N characters, L layers, H units.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, TrainedRun
from numpy.typing import NDArray
from saved_runs import forge, forge_description
from synthetic import SyntheticCorpus, make_corpus

import charrnn
from charrnn.cells.records import CellScore
from charrnn.detectors.registry import DETECTORS
from charrnn.runs.description import seal
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter

Command = Callable[..., Ran]
BLOCKS = "▁▂▃▄▅▆▇█"


@pytest.fixture(scope="session")
def fresh() -> SyntheticCorpus:
    """A text like the corpus that no model has seen."""
    return make_corpus(num_chars=8_000, seed=1)


@pytest.fixture
def fresh_file(fresh: SyntheticCorpus, lab: Path, tmp_path: Path) -> Path:
    path = tmp_path / "fresh.txt"
    path.write_bytes(fresh.text.encode())
    return path


def find(command: Command, *arguments: object) -> Any:
    """The object or objects of --json."""
    ran = command("visualize", *arguments, "--json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def table_rows(out: str) -> dict[str, list[str]]:
    """The cells of the ranked table's rows by detector, in order."""
    rows = (re.split(r" {2,}", line.strip()) for line in out.splitlines())
    return {row[0]: row[1:] for row in rows if row[0] in DETECTORS and len(row) > 3}


def naive_auc(values: NDArray[np.float32], is_inside: NDArray[np.bool_]) -> float:
    """Chance that a character inside has the higher value than one outside; a tie is half a win."""
    inside, outside = values[is_inside][:, None], values[~is_inside]
    return float(((inside > outside) + 0.5 * (inside == outside)).mean())


def test_by_itself_it_shows_the_table_and_the_three_best_cells(
    command: Command, lab: Path, corpus: SyntheticCorpus
) -> None:
    ran = command("visualize")
    assert (ran.code, ran.err) == (0, "")
    scores = find(command, "--find")
    assert list(table_rows(ran.out)) == [score["detector"] for score in scores]
    assert {score["detector"] for score in scores} >= {"quote", "line-position", "indentation", "line-length"}
    held_out = corpus.text[int(0.9 * len(corpus.text)) :]
    assert f"32 cells over {len(held_out):,} characters" in ran.out.replace("\n", " ")
    captions = re.findall(r"(?m)^cell (\d+):(\d+) follows ([\w-]+) ", ran.out)
    # Those that exceed the untrained baseline most, not the strongest.
    found = [score for score in (CellScore(**score) for score in scores) if score.is_significant]
    best = sorted(found, key=lambda score: -score.gain)[:3]
    assert captions == [(str(one.layer), str(one.unit), one.detector) for one in best]
    assert ran.out.count("-1 ▁") == 1, "one legend"
    for picture in ran.out.split(" follows ")[1:]:
        lines = [line.removesuffix("↵") for line in picture.splitlines() if line.endswith("↵")]
        assert len(lines) > 3 and "\n".join(lines) in held_out
    assert re.search(r"(?m)^([\w-]+, )*comment: not scored, there are none in this text$", ran.out)


def test_the_quote_cell_is_the_best_on_one_half_and_scored_on_the_other(
    command: Command, fresh_file: Path, lab: Path, fresh: SyntheticCorpus
) -> None:
    """All figures once more, from the generator's own states and by counting pairs."""
    (score,) = find(command, "--find", "--detector", "quote", "--text", fresh_file)
    model = charrnn.load(lab)
    half = len(fresh.text) // 2
    first, second = fresh.is_quoted[:half], fresh.is_quoted[half:]
    reached = []
    for network in (model.network, model.untrained_baseline()):
        cells = model.trace(fresh.text, network=network).cells[:, 0]
        chosen_on = np.array([naive_auc(cells[:half, unit], first) for unit in range(32)])
        unit = int(np.abs(chosen_on - 0.5).argmax())
        polarity = 1 if chosen_on[unit] >= 0.5 else -1
        reached.append((unit, polarity, naive_auc(polarity * cells[half:, unit], second)))
    # The halves are read in lanes of their own, each warmed up anew, so that cells differ in their last digits.
    assert (score["unit"], score["polarity"]) == reached[0][:2]
    assert score["auc"] == pytest.approx(reached[0][2], abs=5e-4)
    assert score["untrained"] == pytest.approx(reached[1][2], abs=5e-4)
    assert score["num_positive"] == second.sum()
    # Better than chance, which takes cells and labels that belong to the same characters.
    assert score["auc"] > 0.6


def test_without_quotations_there_is_no_quote_cell_and_it_says_so(command: Command, lab: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(make_corpus(num_chars=4_000, with_quotes=False).text.encode())
    ran = command("visualize", "--detector", "quote", "--text", "plain.txt")
    assert (ran.code, ran.out) == (3, "") and len(ran.err.splitlines()) <= 3
    assert "quote: there are none in this text" in ran.err
    assert r"define your own detector by a regular expression: --detect '\([^)]*\)'" in ran.err
    # Not asked for by name, it is one of those that were not scored.
    ran = command("visualize", "--find", "--text", "plain.txt")
    assert ran.code == 0 and "quote" not in table_rows(ran.out)
    assert re.search(r"(?m)^quote(, [\w-]+)*: not scored, there are none in this text$", ran.out)


def text_above_page(out: str) -> list[str]:
    """The lines of the coloured text, after which a blank line separates the page of the cell."""
    above, _, page = out.partition("\n\n")
    assert re.match(r"(\x1b\[[0-9;]*m)*Where cell 0:\d+ is high and low", page)
    return above.splitlines()


def test_a_cell_is_shown_over_the_text(
    command: Command, fresh_file: Path, lab: Path, fresh: SyntheticCorpus, corpus: SyntheticCorpus
) -> None:
    arguments = ("--cell", "0:7", "--text", fresh_file, "--chars", 300)
    found, model = find(command, *arguments), charrnn.load(lab)
    assert (found["run"], found["layer"], found["unit"], found["text"]) == ("lstm-001", 0, 7, fresh.text[:300])
    assert found["values"] == pytest.approx(model.trace(fresh.text[:300]).cells[:, 0, 7].tolist(), abs=1e-6)
    ran = command("visualize", *arguments)
    title, legend, *picture = text_above_page(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert title.startswith("cell 0:7 of lstm-001, tanh(c)")
    assert (legend[:3], legend[-3:]) == ("-1 ", " +1")
    shown, blocks = picture[::2], picture[1::2]
    assert "".join(shown).replace("↵", "\n") == fresh.text[:300]
    levels = [BLOCKS.index(block) for block in "".join(blocks)]
    assert levels == [min(7, int((value + 1) / 2 * 8)) for value in found["values"]]
    # Without --text, what was held out; read after the training text, so that the model has woken up.
    begin = int(0.9 * len(corpus.text))
    found = find(command, "--cell", "0:7", "--chars", 100)
    assert found["text"] == corpus.text[begin : begin + 100]
    expected = model.trace(corpus.text[: begin + 100]).cells[begin:, 0, 7]
    assert found["values"] == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_png_is_the_picture_of_the_svg(command: Command, fresh_file: Path, lab: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra `png` is not installed")
    options = ("visualize", "--text", fresh_file, "--cell", "0:7", "--chars", 200)
    assert command(*options, "--export", "picture.svg").code == 0
    ran = command(*options, "--export", "picture.PNG")
    if ran.code != 0:
        assert "install a monospaced one" in ran.err, "this machine has no font"
        return
    size = struct.unpack(">II", Path("picture.PNG").read_bytes()[16:24])
    drawn = ElementTree.fromstring(Path("picture.svg").read_text(encoding="utf-8"))
    assert size == tuple(round(2 * float(drawn.get(side, ""))) for side in ("width", "height"))


def test_without_the_extra_a_png_gives_the_commands_that_make_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.views.export.find_spec", lambda name: None)
    ran = command("visualize", "--export", "a.png")
    assert (ran.code, ran.out) == (2, "") and len(ran.err.splitlines()) <= 3
    assert "pip install -c constraints.txt -e '.[png]'" in ran.err and "rsvg-convert -z 2 -o a.png a.svg" in ran.err


def test_colours_take_the_place_of_the_blocks(
    command: Command, fresh_file: Path, fresh: SyntheticCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("visualize", "--cell", "0:7", "--text", fresh_file, "--chars", 200)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = command(*arguments).out
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "\x1b" in coloured and "\x1b" not in bare, "colours only, nothing that moves the cursor"
    above = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(text_above_page(coloured)))
    assert not set(BLOCKS) & set(above)
    assert "".join(above.splitlines()[2:]).replace("↵", "\n") == fresh.text[:200]
    assert "\x1b" not in command(*arguments, "--json").out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = command(*arguments).out
    assert not re.search(r"\x1b\[[0-9;]*[34]8;", plain) and set(BLOCKS) & set(plain), "the blocks are back"


@pytest.mark.parametrize(
    ("options", "needed"),
    [("--cell 0:1 --guesses", 1), ("--surprise", 2), ("--gates", 1), ("--ablate 0:1", 2), ("", 200)],
)
@pytest.mark.parametrize("text", ["z", "zib fo"])
def test_a_text_to_look_at_may_be_of_a_few_characters(
    command: Command, lab: Path, text: str, options: str, needed: int
) -> None:
    Path("short.txt").write_text(text)
    ran = command("visualize", "--text", "short.txt", *options.split())
    assert "cannot be learned from" not in ran.err and "Warning" not in ran.err
    assert ran.code == (0 if len(text) >= needed else 3)
    assert (f"needs at least {needed}" in ran.err) is (len(text) < needed)


def test_a_run_whose_text_is_gone_asks_for_another(command: Command, lab: Path, fresh_file: Path) -> None:
    config = (lab / "config.yaml").read_text().partition("\n")[2]
    gone = re.sub(r"(?m)^- .*synthetic\.txt$", "- gone.txt", config)
    forge_description(RunWriter(lab), "config.yaml", seal(gone))
    for step in RunReader(lab).checkpoints():
        state = json.loads((lab / step / "training.json").read_text())
        state["corpus_locations"] = [str(lab / "gone.txt")]
        forge(RunWriter(lab), step, "training.json", json.dumps(state).encode())
    ran = command("visualize")
    assert (ran.code, ran.out) == (3, "")
    assert "The text of lstm-001, gone.txt, is not here: put it back or give --text" in ran.err
    assert command("visualize", "--find", "--text", fresh_file).code == 0
    shutil.copyfile(fresh_file, "gone.txt")
    ran = command("visualize")
    assert (ran.code, ran.out) == (3, "")
    assert "has changed since it was trained" in ran.err and "--text" in ran.err


def test_guesses_are_those_of_predict(command: Command, lab: Path, fresh_file: Path) -> None:
    found, model = find(command, "--text", fresh_file, "--chars", 120, "--cell", "0:3", "--guesses"), charrnn.load(lab)
    assert len(found["guesses"]) == len(found["text"]) == 120
    # `predict` leaves the unknown symbol out and shares its part among the others.
    predicted = model.predict(found["text"][:78], top=3)
    known = [guess for guess in found["guesses"][77] if guess[0]][:3]
    assert [guess[0] for guess in known] == [prediction.character for prediction in predicted]
    assert [guess[1] for guess in known] == pytest.approx([p.probability for p in predicted], rel=0.05, abs=1e-3)


def test_arrays_are_the_trace_and_say_where_cells_were_scored(
    command: Command, lab: Path, fresh_file: Path, fresh: SyntheticCorpus
) -> None:
    assert command("visualize", "--text", fresh_file, "--export", "all.npz").out == "all.npz\n"
    with np.load("all.npz", allow_pickle=False) as arrays:
        text = str(arrays["text"])
        trace = charrnn.load(lab).trace(text, keeps_hidden=True)
        assert text == fresh.text[: len(text)] and trace.hidden is not None
        assert arrays["scored"].tolist() == [index >= len(text) // 2 for index in range(len(text))]
        for name, expected in (("ids", trace.ids), ("cells", trace.cells), ("hidden", trace.hidden)):
            np.testing.assert_allclose(arrays[name], expected, atol=1e-5)
        np.testing.assert_allclose(arrays["logprobs"][1:], trace.logprobs[1:], atol=1e-4)
        assert arrays["labels_quote"].tolist() == fresh.is_quoted[: len(text)].tolist()
        assert arrays["cells"].dtype == arrays["hidden"].dtype == np.float32


def test_ablation_is_that_of_the_library_for_built_in_and_own_detectors(
    command: Command, lab: Path, fresh_file: Path
) -> None:
    options = ("--text", fresh_file, "--ablate", "0:5", "--detector", "quote", "--detect", "zib|molu")
    found, model = find(command, *options), charrnn.load(lab)
    for at in ("mean", "zero"):
        expected = model.ablate(0, 5, fresh_file.read_text(), detectors=["quote"], at=at)
        assert found[at]["change"] == pytest.approx(expected.change, abs=1e-5)
        assert [effect["detector"] for effect in found[at]["effects"]] == ["quote", "zib|molu"]
        assert found[at]["effects"][0]["change_inside"] == pytest.approx(expected.effects[0].change_inside, abs=1e-5)
    assert found["mean"]["value"] != 0 == found["zero"]["value"]
    shown = command("visualize", *options).out
    assert "inside zib|molu" in shown and f"{found['mean']['change']:+.4f}" in shown


def test_a_detector_of_one_s_own_finds_its_cell(command: Command, lab: Path, fresh_file: Path) -> None:
    Path("mine.py").write_text("def label(text):\n    return [c in 'zm' for c in text]\n")
    scores = [find(command, "--text", fresh_file, "--find", "--detect", spec)[0] for spec in ("[zm]", "mine.py")]
    assert [score["detector"] for score in scores] == ["[zm]", "mine.py"]
    assert scores[0]["auc"] == scores[1]["auc"] > 0.7
    shown = command("visualize", "--text", fresh_file, "--detect", "[zm]").out
    assert "follows [zm]" in shown, "the passage is marked, and nothing taken for markup"
    assert "inside matches of" not in shown, "the name of a pattern without a name says it all"


def test_the_history_of_a_cell_ends_where_the_cell_is_now(
    command: Command, train_run: Callable[..., TrainedRun]
) -> None:
    settings = {"hidden_size": 32, "embedding_size": 16, "num_lanes": 16, "bptt_length": 64, "learning_rate": 0.03}
    run = train_run("history-001", steps=60, save_every=20, evaluate_every=20, keep=99, **settings)
    options = (run.path, "--history", "--detector", "quote", "--detector", "line-position")
    (quote, position) = sorted(find(command, *options), key=lambda one: one["detector"] != "quote")
    assert quote["steps"] == position["steps"] == [0, 20, 40, 60]
    model = charrnn.load(run.path)
    text, context = model.held_out_text()
    half = len(text) // 2
    trace = model.trace(text[half:], context=context + text[:half])  # type: ignore[operator]
    cell = trace.cells[:, quote["layer"], quote["unit"]]
    now = naive_auc(cell, DETECTORS["quote"].label(trace.text))  # type: ignore[arg-type]
    assert quote["values"][quote["steps"].index(model.step)] == pytest.approx(max(now, 1 - now), abs=1e-3)
    assert quote["is_auc"] and not position["is_auc"] and abs(position["values"][-1]) > abs(position["values"][0])
    ran = command("visualize", *options)
    assert (ran.code, ran.err) == (0, "") and "steps 0 to 60" in ran.out and "Few steps" not in ran.out


def test_an_export_never_replaces_the_text_it_shows(command: Command, lab: Path, fresh_file: Path) -> None:
    text = Path("mine.txt")
    shutil.copyfile(fresh_file, text)
    ran = command("visualize", "--text", text, "--cell", "0:1", "--export", "./mine.txt")
    assert (ran.code, ran.out) == (2, "") and "that is the text" in ran.err
    assert text.read_bytes() == fresh_file.read_bytes()
    text.with_suffix(".svg").write_text("an older picture")
    assert command("visualize", "--text", text, "--cell", "0:1", "--export", "mine.svg").code == 0


def test_a_function_that_never_ends_is_given_up_whatever_it_catches(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.cli.visualize.MAX_LABEL_SECONDS", 0.2)
    endless = "def label(text):\n    while True:\n        try: sum(text)\n        except Exception: pass\n"
    Path("slow.py").write_text(endless)
    ran = command("visualize", "--text", fresh_file, "--find", "--detect", "slow.py")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith("error: --detect slow.py: not finished after 0.2 seconds.")


def test_what_the_model_cannot_read_as_it_stands_is_said(command: Command, lab: Path, byte_run: TrainedRun) -> None:
    Path("wide.txt").write_text("語語 lamp\n" * 100, encoding="utf-8")
    ran = command("visualize", "--text", "wide.txt", "--cell", "0:1")
    assert ran.code == 0 and "200 of 800 characters are unknown to" in ran.err
    assert "600 bytes are parts" in command("visualize", byte_run.path, "--text", "wide.txt", "--cell", "0:1").err
    assert command("visualize", "--text", "wide.txt", "--cell", "0:1", "-q").err == ""


def test_a_page_that_begins_inside_a_quotation_underlines_what_the_whole_text_says(
    command: Command, lab: Path, fresh: SyntheticCorpus
) -> None:
    """The page shows the second half. Labelled by itself it would be inside out until the next blank line."""
    quoted = np.flatnonzero(fresh.is_quoted)
    half = int(quoted[quoted < len(fresh.text) // 2][-3])
    text = fresh.text[: 2 * half]
    Path("half.txt").write_text(text, encoding="utf-8")
    ran = command("visualize", "--text", "half.txt", "--detector", "quote", "--export", "page.html")
    assert ran.code == 0, ran.err
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path("page.html").read_text(encoding="utf-8"), re.S)[1])
    shown = np.frombuffer(base64.b64decode(data["labels"]["quote"]), np.int8).astype(bool)
    whole = DETECTORS["quote"].label(text)
    assert whole is not None and whole[half] and not DETECTORS["quote"].label(text[half:])[0]
    assert shown.tolist() == whole[half : half + len(shown)].tolist()


def test_an_export_that_fails_leaves_the_older_one(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charrnn.files.write_synced", fill)
    for name in ("picture.svg", "numbers.npz"):
        Path(name).write_text("the older one")
        before = sorted(Path().iterdir())
        ran = command("visualize", "--text", fresh_file, "--cell", "0:1", "--export", name)
        assert (ran.code, ran.out) == (1, "") and "No space left" in ran.err and "bytes needed" in ran.err
        assert Path(name).read_text() == "the older one" and sorted(Path().iterdir()) == before
