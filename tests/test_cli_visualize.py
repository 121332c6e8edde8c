"""`charrnn visualize` as a whole: the table, the pictures, the figures behind them, and the same for others.

N characters, L layers, H units.
"""

from __future__ import annotations

import base64
import html.parser
import json
import os
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ran, TrainedRun, copy_run
from numpy.typing import NDArray
from rich.cells import cell_len
from saved_runs import forge, forge_description
from synthetic import SyntheticCorpus, make_corpus

import charrnn
from charrnn.cells.records import CellScore
from charrnn.cells.scores import choose_targets
from charrnn.detectors.registry import DETECTORS
from charrnn.runs.description import seal
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import RunWriter

Command = Callable[..., Ran]
DOCUMENTED = {"detector", "layer", "unit", "ci_low", "ci_high", "untrained", "polarity", "num_positive"}
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


def find(command: Command, *arguments: object) -> list[dict[str, Any]]:
    ran = command("visualize", "--find", "--json", *arguments)
    assert (ran.code, ran.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def table_rows(out: str) -> dict[str, list[str]]:
    """The cells of the ranked table's rows by detector, in order."""
    rows = (re.split(r" {2,}", line.strip()) for line in out.splitlines())
    return {row[0]: row[1:] for row in rows if row[0] in DETECTORS and len(row) > 3}


def is_count(detector: str, text: str) -> bool:
    labels = DETECTORS[detector].label(text)
    assert labels is not None
    return labels.dtype != bool


def naive_auc(values: NDArray[np.float32], is_inside: NDArray[np.bool_]) -> float:
    """Chance that a character inside has the higher value than one outside; a tie is half a win."""
    inside, outside = values[is_inside][:, None], values[~is_inside]
    return float(((inside > outside) + 0.5 * (inside == outside)).mean())


def test_by_itself_it_shows_the_table_and_the_three_best_cells(
    command: Command, lab: Path, corpus: SyntheticCorpus
) -> None:
    ran = command("visualize")
    assert (ran.code, ran.err) == (0, "")
    scores = find(command)
    assert list(table_rows(ran.out)) == [score["detector"] for score in scores]
    assert {score["detector"] for score in scores} >= {"quote", "line-position", "indentation", "line-length"}
    assert f"32 cells over {len(corpus.text) - int(0.9 * len(corpus.text)):,} characters" in ran.out.replace("\n", " ")
    captions = re.findall(r"(?m)^cell (\d+):(\d+) follows ([\w-]+) ", ran.out)
    # Those that exceed the untrained baseline most, not the strongest.
    found = [score for score in (CellScore(**score) for score in scores) if score.is_significant]
    best = sorted(found, key=lambda score: -score.gain)[:3]
    assert captions == [(str(one.layer), str(one.unit), one.detector) for one in best]
    assert ran.out.count("-1 ▁") == 1, "one legend"
    pictures = ran.out.split(" follows ")[1:]
    for picture in pictures:
        lines = [line.removesuffix("↵") for line in picture.splitlines() if line.endswith("↵")]
        assert len(lines) > 3
        assert "\n".join(lines) in corpus.text[int(0.9 * len(corpus.text)) :]
    assert re.search(r"(?m)^([\w-]+, )*comment: not scored, there are none in this text$", ran.out)


def test_every_cell_is_described_and_the_second_call_measures_nothing(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("visualize", "--describe", "--text", fresh_file, "--top", 3)
    assert (ran.code, ran.err) == (0, "")
    monkeypatch.setattr("charrnn.lab.descriptions.describe_cells", None)
    report = json.loads(command("visualize", "--describe", "--text", fresh_file, "--json").out)
    found = report["descriptions"]
    assert sorted((one["layer"], one["unit"]) for one in found) == [(0, unit) for unit in range(32)]
    assert report["num_explained"] == sum(one["explained"] for one in found)
    assert [one["score"] for one in found if one["explained"]] == sorted(
        (one["score"] for one in found if one["explained"]), reverse=True
    )
    listed = re.findall(r"(?m)^ *(0:\d+) +(-?\d\.\d{3}) ", ran.out)
    assert listed == [(f"0:{one['unit']}", f"{one['score']:.3f}") for one in found[:3]]
    assert f"explains {report['num_explained']} of 32 cells" in ran.out
    assert "3 of 32 cells are listed." in ran.out
    exported = command("visualize", "--describe", "--text", fresh_file, "--export", "cells.txt")
    assert exported.code == 0
    assert len(re.findall(r"(?m)^ *0:\d+ ", Path("cells.txt").read_text(encoding="utf-8"))) == 32


@pytest.mark.parametrize(("arguments", "num_pictures"), [(("--find",), 0), (("--top", 0), 0), (("--top", 5), 5)])
def test_how_many_pictures(command: Command, lab: Path, arguments: tuple[object, ...], num_pictures: int) -> None:
    ran = command("visualize", *arguments)
    assert ran.code == 0
    assert ran.out.count(" follows ") == num_pictures
    assert table_rows(ran.out)


def test_the_table_shows_the_figures_of_the_json(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    rows = table_rows(command("visualize", "--top", 0).out)
    for score in find(command):
        cell, value, interval, chance, untrained, *_ = rows[score["detector"]]
        assert cell == f"{score['layer']}:{score['unit']}"
        kind, number = value.split()
        assert kind == ("ρ" if is_count(score["detector"], corpus.text) else "AUC")
        reached = score.get("auc", abs(score.get("spearman", 0)))
        assert number.endswith("?") or reached > score["null_level"], "what chance reaches is marked"
        assert float(number.rstrip("?~")) == pytest.approx(score.get("auc", score.get("spearman")), abs=6e-4)
        low, high = interval.replace("…", " ").split()
        assert (float(low), float(high)) == pytest.approx((score["ci_low"], score["ci_high"]), abs=6e-4)
        assert float(chance) == pytest.approx(score["null_level"], abs=6e-4)
        assert float(untrained) == pytest.approx(score["untrained"], abs=6e-4)


def test_json_lists_the_scores_with_their_documented_keys(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    scores = find(command)
    for score in scores:
        measure = "spearman" if is_count(score["detector"], corpus.text) else "auc"
        assert score.keys() >= DOCUMENTED | {measure}
        assert not {"auc", "spearman"} - {measure} & score.keys()
        assert (score["layer"], score["unit"] in range(32), score["polarity"] in (-1, 1)) == (0, True, True)
        assert score["ci_low"] <= score[measure] <= score["ci_high"]
    strengths = [max(0.0, 2 * s["auc"] - 1) if "auc" in s else abs(s["spearman"]) for s in scores]
    assert strengths == sorted(strengths, reverse=True)
    # Only `--find` measures contributions, which takes as long as all the rest.
    assert all(score["ablation_inside"] is not None and score["ablation_outside"] is not None for score in scores)
    untold = {"ablation_inside": None, "ablation_outside": None}
    assert json.loads(command("visualize", "--json").out) == [score | untold for score in scores]


def test_the_quote_cell_is_the_best_on_one_half_and_scored_on_the_other(
    command: Command, fresh_file: Path, lab: Path, fresh: SyntheticCorpus
) -> None:
    """All figures once more, from the generator's own states and by counting pairs."""
    (score,) = find(command, "--detector", "quote", "--text", fresh_file)
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


def test_one_detector_or_two(command: Command, lab: Path) -> None:
    def found(*arguments: str) -> dict[str, Any]:
        # Measured each time: what is found for a detector does not depend on what it is measured beside.
        return {score["detector"]: score for score in find(command, *arguments, "--recompute")}

    everything = found()
    assert found("--detector", "quote") == {"quote": everything["quote"]}
    two = found("--detector", "indentation", "--detector", "line-length")
    assert two == {name: everything[name] for name in ("indentation", "line-length")}
    assert list(table_rows(command("visualize", "--detector", "quote").out)) == ["quote"]


def test_without_quotations_there_is_no_quote_cell_and_it_says_so(command: Command, lab: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes(make_corpus(num_chars=4_000, with_quotes=False).text.encode())
    ran = command("visualize", "--detector", "quote", "--text", "plain.txt")
    assert (ran.code, ran.out) == (3, "")
    assert "quote: there are none in this text" in ran.err
    assert r"define your own detector by a regular expression: --detect '\([^)]*\)'" in ran.err
    assert len(ran.err.splitlines()) <= 3
    # Not asked for by name, it is one of those that were not scored.
    ran = command("visualize", "--find", "--text", "plain.txt")
    assert ran.code == 0
    assert re.search(r"(?m)^quote(, [\w-]+)*: not scored, there are none in this text$", ran.out)
    assert "quote" not in table_rows(ran.out)


def text_above_page(out: str) -> list[str]:
    """The lines of the coloured text, after which a blank line separates the page of the cell."""
    above, _, page = out.partition("\n\n")
    assert re.match(r"(\x1b\[[0-9;]*m)*Where cell 0:\d+ is high and low", page)
    return above.splitlines()


def test_a_cell_is_shown_over_the_text(command: Command, fresh_file: Path, lab: Path, fresh: SyntheticCorpus) -> None:
    arguments = ("visualize", "--cell", "0:7", "--text", fresh_file, "--chars", 300)
    found = json.loads(command(*arguments, "--json").out)
    assert (found["run"], found["layer"], found["unit"]) == ("lstm-001", 0, 7)
    assert found["text"] == fresh.text[:300]
    expected = charrnn.load(lab).trace(fresh.text[:300]).cells[:, 0, 7]
    assert found["values"] == pytest.approx(expected.tolist(), abs=1e-6)
    ran = command(*arguments)
    title, legend, *picture = text_above_page(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert title.startswith("cell 0:7 of lstm-001, tanh(c)")
    assert (legend[:3], legend[-3:]) == ("-1 ", " +1")
    shown, blocks = picture[::2], picture[1::2]
    assert "".join(shown).replace("↵", "\n") == fresh.text[:300]
    levels = [BLOCKS.index(block) for block in "".join(blocks)]
    assert levels == [min(7, int((value + 1) / 2 * 8)) for value in found["values"]]


def test_each_of_several_cells_has_its_picture_on_the_same_text(command: Command, fresh_file: Path, lab: Path) -> None:
    options = ("visualize", "--text", fresh_file, "--chars", 200)
    single = [command(*options, "--cell", cell).out.splitlines() for cell in ("0:7", "0:3")]
    ran = command(*options, "--cell", "0:7", "--cell", "0:3", "--cell", "0:7")
    assert (ran.code, ran.err) == (0, "")
    # The second without a legend of its own; named again, the first is shown once.
    assert ran.out.splitlines() == [*single[0], "", single[1][0], *single[1][2:]]
    guesses = command(*options, "--cell", "0:7", "--cell", "0:3", "--guesses").out
    assert guesses.count("most likely next ones") == 1 and "cell 0:3 of" in guesses


def test_several_cells_are_one_object_and_one_page(command: Command, fresh_file: Path, lab: Path) -> None:
    options = ("visualize", "--text", fresh_file, "--chars", 200)
    single = [json.loads(command(*options, "--cell", cell, "--json").out) for cell in ("0:7", "0:3")]
    found = json.loads(command(*options, "--cell", "0:7", "--cell", "0:3", "--json").out)
    assert single[0].keys() == {"run", "layer", "unit", "text", "values", "cells"} == found.keys()
    assert found == {**single[0], "cells": [single[0]["cells"][0], single[1]["cells"][0]]}
    own = {name: single[1][name] for name in ("layer", "unit", "values")}
    assert found["cells"][1] == {**own, "page": single[1]["cells"][0]["page"]}
    assert (found["cells"][1]["page"]["layer"], found["cells"][1]["page"]["unit"]) == (0, 3)
    for suffix in ("html", "svg", "txt", "json", "npz"):
        assert command(*options, "--cell", "0:7", "--cell", "0:3", "--export", f"cells.{suffix}").code == 0
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path("cells.html").read_text(encoding="utf-8"))[1])
    assert [cell["name"] for cell in data["cells"]] == ["0:7", "0:3"] and len(data["rows"]) == 2
    for suffix in ("svg", "txt"):
        picture = Path(f"cells.{suffix}").read_text(encoding="utf-8")
        for cell in ("0:7", "0:3"):
            assert f"cell {cell} of" in re.sub("<[^>]*>", "", picture)
    assert json.loads(Path("cells.json").read_text()) == found
    with np.load("cells.npz", allow_pickle=False) as arrays:
        assert arrays["cells"][:, 0, 3].tolist() == pytest.approx(found["cells"][1]["values"], abs=1e-6)


def test_a_cell_there_is_not_among_several_is_refused(command: Command, lab: Path) -> None:
    ran = command("visualize", "--cell", "0:7", "--cell", "0:99")
    assert (ran.code, ran.out) == (2, "") and "--cell 0:99" in ran.err


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


def test_the_default_text_is_what_was_held_out(command: Command, lab: Path, corpus: SyntheticCorpus) -> None:
    found = json.loads(command("visualize", "--cell", "0:0", "--chars", 100, "--json").out)
    begin = int(0.9 * len(corpus.text))
    assert found["text"] == corpus.text[begin : begin + 100]
    # Read after the training text, so the first values are not those of a model that has just woken up.
    trace = charrnn.load(lab).trace(corpus.text[: begin + 100])
    assert found["values"] == pytest.approx(trace.cells[begin:, 0, 0].tolist(), abs=1e-3)


def test_the_text_may_come_from_a_pipe(command: Command, fresh_file: Path, fresh: SyntheticCorpus) -> None:
    from_file = command("visualize", "--cell", "0:3", "--text", fresh_file, "--chars", 80)
    from_pipe = command("visualize", "--cell", "0:3", "--text", "-", "--chars", 80, stdin=fresh.text.encode())
    assert (from_pipe.code, from_pipe.out) == (0, from_file.out)


def test_colours_take_the_place_of_the_blocks(
    command: Command, fresh_file: Path, fresh: SyntheticCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("visualize", "--cell", "0:7", "--text", fresh_file, "--chars", 200)
    plain = command(*arguments).out
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = command(*arguments).out
    assert "\x1b[" in coloured
    above = "\n".join(text_above_page(coloured))
    assert not set(BLOCKS) & set(above)
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", coloured), "colours only, nothing that moves the cursor"
    bare = re.sub(r"\x1b\[[0-9;]*m", "", above)
    assert "".join(bare.splitlines()[2:]).replace("↵", "\n") == fresh.text[:200]
    assert "\x1b" not in command(*arguments, "--json").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*[34]8;", command(*arguments).out)
    assert set(BLOCKS) & set(command(*arguments).out), "without colours the blocks are back"


class Tags(html.parser.HTMLParser):
    """Notes the text, every tag left open and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("arguments", [("--cell", "0:7", "--chars", 300), ("--top", 2)])
def test_html_is_whole_and_needs_nothing_else(
    command: Command, fresh_file: Path, fresh: SyntheticCorpus, arguments: tuple[object, ...]
) -> None:
    ran = command("visualize", "--text", fresh_file, *arguments, "--export", "picture.html")
    assert (ran.code, ran.out, ran.err) == (0, "picture.html\n", "")
    page = Path("picture.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert page.startswith("<!DOCTYPE html>")
    assert (tags.open, tags.addresses) == ([], [])
    assert "://" not in page
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    data = json.loads(found[1])
    text = "".join(data["text"]).replace("↵", "\n")
    lines = [line for line in text.splitlines()[1:-1] if line.startswith("    ")]
    assert lines and all(line in fresh.text.splitlines() for line in lines), "indentation survives"
    assert text in fresh.text and len(data["guesses"]) == len(data["bits"]) == len(text)
    names = [cell["name"] for cell in data["cells"]]
    assert names == ["0:7"] if "--cell" in arguments else len(names) > 1


@pytest.mark.parametrize("arguments", [("--cell", "0:7", "--chars", 300), ("--top", 2)])
def test_svg_is_well_formed(command: Command, fresh_file: Path, arguments: tuple[object, ...]) -> None:
    ran = command("visualize", "--text", fresh_file, *arguments, "--export", "picture.SVG")
    assert (ran.code, ran.out, ran.err) == (0, "picture.SVG\n", "")
    root = ElementTree.fromstring(Path("picture.SVG").read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert "cell 0:" in text
    assert {element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}rect")} - {None, "#fcfcfa"}


@pytest.mark.parametrize("width", [60, *(pytest.param(width, marks=pytest.mark.thorough) for width in (80, 120))])
def test_no_line_is_wider_than_the_window(
    command: Command, lab: Path, byte_run: TrainedRun, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    Path("long.txt").write_bytes(make_corpus(num_chars=3_000).text.replace("\n", " ").encode())
    guesses = ("--cell", "0:7", "--guesses", "--chars", 200)
    pictures = (
        ("--surprise", "--sparkline"),
        ("--gates",),
        ("--gradients", "--text", "long.txt"),
        ("--history",),
        guesses,
    )
    for arguments in ((), ("--find",), ("--ablate", "0:7"), *pictures, ("--cell", "0:1", "--text", "long.txt")):
        ran = command("visualize", *arguments)
        assert ran.code == 0
        widths = [cell_len(line) for line in ran.out.splitlines()]
        assert max(widths) <= width, ran.out
    assert max(widths) == width, "a long line is folded where the window ends"
    ran = command("visualize", byte_run.path, "--cell", "0:1")
    assert max(cell_len(line) for line in ran.out.splitlines()) <= width


@pytest.mark.trained
@pytest.mark.parametrize(("run", "cell"), [("gru", "1:11"), ("rnn", "0:2")])
def test_the_cells_of_a_gru_or_a_plain_rnn_are_its_h(
    command: Command, run: str, cell: str, corpus: SyntheticCorpus, request: pytest.FixtureRequest
) -> None:
    trained: TrainedRun = request.getfixturevalue(run)
    ran = command("visualize", trained.path, "--cell", cell, "--chars", 50)
    assert ran.code == 0
    assert ran.out.splitlines()[0].rstrip() == f"cell {cell} of {trained.name}, h"
    scores = find(command, trained.path)
    assert {score["layer"] for score in scores} <= set(range(2 if run == "gru" else 1))
    held_out = corpus.text[int(0.9 * len(corpus.text)) :]
    expected = {target.name for target in choose_targets(held_out, list(DETECTORS.values()))[0]}
    assert {score["detector"] for score in scores} == expected and len(expected) >= 9


def test_a_byte_model_is_read_byte_by_byte(command: Command, byte_run: TrainedRun) -> None:
    Path("bytes.txt").write_bytes("zäb «molu»\n".encode() * 3)
    found = json.loads(
        command("visualize", byte_run.path, "--cell", "0:1", "--text", "bytes.txt", "--chars", 28, "--json").out
    )
    assert found["text"].encode("latin-1") == ("zäb «molu»\n".encode() * 3)[:28]
    assert len(found["values"]) == 28


def test_quotations_are_found_by_a_byte_model_too(command: Command, byte_run: TrainedRun, fresh_file: Path) -> None:
    (score,) = find(command, byte_run.path, "--detector", "quote", "--text", fresh_file)
    assert score["num_positive"] > 500


@pytest.mark.parametrize("options", ["--cell 0:1", "--cell 0:1 --guesses", "--surprise", "--gates", "--ablate 0:1", ""])
@pytest.mark.parametrize("text", ["z", "zib fo"])
def test_a_text_to_look_at_may_be_of_a_few_characters(command: Command, lab: Path, text: str, options: str) -> None:
    Path("short.txt").write_text(text)
    ran = command("visualize", "--text", "short.txt", *options.split())
    assert "cannot be learned from" not in ran.err and "Warning" not in ran.err
    needed = {"": 200, "--surprise": 2, "--ablate 0:1": 2}.get(options, 1)
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
    options = ("--text", fresh_file, "--chars", 120, "--cell", "0:3", "--guesses")
    found = json.loads(command("visualize", *options, "--json").out)
    model = charrnn.load(lab)
    assert len(found["guesses"]) == len(found["text"]) == 120
    for position in (30, 77):
        # `predict` leaves the unknown symbol out and shares its part among the others.
        predicted = model.predict(found["text"][: position + 1], top=3)
        known = [guess for guess in found["guesses"][position] if guess[0]][:3]
        assert [guess[0] for guess in known] == [prediction.character for prediction in predicted]
        assert [guess[1] for guess in known] == pytest.approx([p.probability for p in predicted], rel=0.05, abs=1e-3)
    ran = command("visualize", *options)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80 and "stronger is more likely" in ran.out


def test_surprise_is_the_loss_of_each_character(command: Command, lab: Path, fresh_file: Path) -> None:
    found = json.loads(command("visualize", "--text", fresh_file, "--chars", 300, "--surprise", "--json").out)
    trace = charrnn.load(lab).trace(fresh_file.read_text()[:300])
    assert found["bits"][0] is None, "nothing predicted the first character"
    assert found["bits"][1:] == pytest.approx((-trace.logprobs[1:] / np.log(2)).tolist(), abs=1e-3)
    shown = command("visualize", "--text", fresh_file, "--chars", 300, "--surprise").out
    mean = np.mean(found["bits"][1:])
    assert f"{mean:.2f} bits per character" in shown and "8 bits or more" in shown


def test_arrays_are_the_trace_and_say_where_cells_were_scored(
    command: Command, lab: Path, fresh_file: Path, fresh: SyntheticCorpus
) -> None:
    assert command("visualize", "--text", fresh_file, "--export", "all.npz").out == "all.npz\n"
    assert command("visualize", "--text", fresh_file, "--cell", "0:1", "--chars", 90, "--export", "one.npz").code == 0
    with np.load("all.npz", allow_pickle=False) as arrays:
        text = str(arrays["text"])
        trace = charrnn.load(lab).trace(text, keeps_hidden=True)
        assert trace.hidden is not None
        assert text == fresh.text[: len(text)] and arrays["scored"].tolist() == [
            index >= len(text) // 2 for index in range(len(text))
        ]
        for name, expected in (("ids", trace.ids), ("cells", trace.cells), ("hidden", trace.hidden)):
            np.testing.assert_allclose(arrays[name], expected, atol=1e-5)
        np.testing.assert_allclose(arrays["logprobs"][1:], trace.logprobs[1:], atol=1e-4)
        assert arrays["labels_quote"].tolist() == fresh.is_quoted[: len(text)].tolist()
        assert arrays["cells"].dtype == arrays["hidden"].dtype == np.float32
    with np.load("one.npz", allow_pickle=False) as arrays:
        assert len(arrays["ids"]) == 90 and not arrays["scored"].any(), "nothing was scored for one cell"


@pytest.mark.parametrize("mode", [("--find",), ("--cell", "0:3"), ("--surprise",)])
def test_text_and_json_exports_are_what_is_printed(
    command: Command, lab: Path, fresh_file: Path, mode: tuple[str, ...]
) -> None:
    options = ("visualize", "--text", fresh_file, *mode)
    assert command(*options, "--export", "page.json").out == "page.json\n"
    assert json.loads(Path("page.json").read_text()) == json.loads(command(*options, "--json").out)
    assert command(*options, "--export", "page.txt").out == "page.txt\n"
    page, printed = Path("page.txt").read_text(encoding="utf-8"), command(*options).out
    assert "\x1b" not in page and max(map(len, page.splitlines())) <= 100
    assert sorted(set("".join(page.split()))) == sorted(set("".join(printed.split())))


def test_gates_are_those_of_the_library(command: Command, lab: Path, fresh_file: Path) -> None:
    found = json.loads(command("visualize", "--text", fresh_file, "--gates", "--json").out)
    expected = charrnn.load(lab).gates(fresh_file.read_text()).to_json()
    assert [(gate["layer"], gate["gate"]) for gate in found["gates"]] == [(0, "f"), (0, "i"), (0, "o")]
    assert found["gates"][0]["left"] == pytest.approx(list(expected["gates"][0]["left"]))
    ran = command("visualize", "--text", fresh_file, "--gates")
    assert (ran.code, ran.err) == (0, "") and "layer 0: forget" in ran.out
    assert max(map(cell_len, ran.out.splitlines())) <= 80


def test_gradients_of_runs_share_a_chart_and_those_of_their_baselines_another(
    command: Command, lab: Path, fresh_file: Path, rnn: TrainedRun
) -> None:
    copy_run(rnn.path, lab.parent / rnn.name)
    options = ("visualize", lab.name, "--text", fresh_file, "--gradients", "--with", rnn.name)
    found = json.loads(command(*options, "--json").out)
    names = [lab.name, f"{lab.name}, untrained", rnn.name, f"{rnn.name}, untrained"]
    assert [reach["name"] for reach in found] == names
    assert [reach["is_untrained"] for reach in found] == [False, True, False, True]
    assert all(len(reach["norms"][0]) == len(reach["lags"]) for reach in found)
    assert all(norm > 0 for norm in found[0]["norms"][0][:20])
    ran = command(*options)
    assert (ran.code, ran.err) == (0, "") and rnn.name in ran.out and "characters before" in ran.out
    assert [line.split(", ")[-1] for line in ran.out.splitlines() if line.startswith("Mean norm")] == [
        "trained",
        "untrained",
    ]
    assert max(map(cell_len, ran.out.splitlines())) <= 80


def test_ablation_is_that_of_the_library_for_built_in_and_own_detectors(
    command: Command, lab: Path, fresh_file: Path
) -> None:
    options = ("visualize", "--text", fresh_file, "--ablate", "0:5", "--detector", "quote", "--detect", "zib|molu")
    found = json.loads(command(*options, "--json").out)
    text = fresh_file.read_text()
    for at in ("mean", "zero"):
        expected = charrnn.load(lab).ablate(0, 5, text, detectors=["quote"], at=at)
        assert found[at]["change"] == pytest.approx(expected.change, abs=1e-5)
        assert [effect["detector"] for effect in found[at]["effects"]] == ["quote", "zib|molu"]
        assert found[at]["effects"][0]["change_inside"] == pytest.approx(expected.effects[0].change_inside, abs=1e-5)
    assert found["mean"]["value"] != 0 == found["zero"]["value"]
    shown = command(*options).out
    assert "inside zib|molu" in shown and f"{found['mean']['change']:+.4f}" in shown
    assert max(map(cell_len, shown.splitlines())) <= 80


def test_a_detector_of_one_s_own_finds_its_cell(command: Command, lab: Path, fresh_file: Path) -> None:
    Path("mine.py").write_text("def label(text):\n    return [c in 'zm' for c in text]\n")
    by_pattern, by_file = (
        json.loads(command("visualize", "--text", fresh_file, "--find", "--detect", spec, "--json").out)
        for spec in ("[zm]", "mine.py")
    )
    assert [score["detector"] for score in by_pattern] == ["[zm]"]
    assert [score["detector"] for score in by_file] == ["mine.py"]
    assert by_pattern[0]["auc"] == by_file[0]["auc"] > 0.7
    shown = command("visualize", "--text", fresh_file, "--detect", "[zm]").out
    assert "follows [zm]" in shown, "the passage is marked, and nothing taken for markup"
    assert "inside matches of" not in shown, "the name of a pattern without a name says it all"


def test_a_pattern_may_be_named(command: Command, lab: Path, fresh_file: Path) -> None:
    options = ("visualize", "--text", fresh_file)
    ran = command(*options, "--detect", "zm=[zm]", "--detect", "a[=]|[uz]")
    assert ran.code == 0, ran.err
    assert "follows zm (inside matches of [zm]): " in ran.out
    for specs, part in (
        (("quote=[zm]",), "quote is a detector of charrnn"),
        (("zm=z", "zm=m"), "two detectors are named zm"),
        (("zm=(",), "The detector '(' is not a regular expression"),
    ):
        ran = command(*options, *(word for spec in specs for word in ("--detect", spec)))
        assert (ran.code, ran.out) == (2, "") and part in ran.err and len(ran.err.splitlines()) <= 3, ran.err


def test_the_history_of_a_cell_ends_where_the_cell_is_now(
    command: Command, train_run: Callable[..., TrainedRun], tmp_path: Path
) -> None:
    settings = {"hidden_size": 32, "embedding_size": 16, "num_lanes": 16, "bptt_length": 64, "learning_rate": 0.03}
    run = train_run("history-001", steps=60, save_every=10, evaluate_every=10, keep=99, **settings)
    options = ("visualize", run.path, "--history", "--detector", "quote", "--detector", "line-position")
    found = json.loads(command(*options, "--json").out)
    (quote, position) = sorted(found, key=lambda one: one["detector"] != "quote")
    assert quote["steps"] == position["steps"] == [0, 10, 20, 30, 40, 50, 60]
    model = charrnn.load(run.path)
    text, context = model.held_out_text()
    half = len(text) // 2
    trace = model.trace(text[half:], context=context + text[:half])  # type: ignore[operator]
    cell = trace.cells[:, quote["layer"], quote["unit"]]
    now = naive_auc(cell, DETECTORS["quote"].label(trace.text))  # type: ignore[arg-type]
    best = model.step
    assert quote["values"][quote["steps"].index(best)] == pytest.approx(max(now, 1 - now), abs=1e-3)
    assert quote["is_auc"] and not position["is_auc"] and abs(position["values"][-1]) > abs(position["values"][0])
    ran = command(*options)
    assert (ran.code, ran.err) == (0, "") and "steps 0 to 60" in ran.out and "Few steps" not in ran.out
    assert any(block in ran.out for block in "▃▄▅▆")


def test_a_history_is_of_the_run_that_was_loaded_though_another_is_newer_by_then(
    command: Command, lab: Path, gru: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from charrnn.api import load

    def load_and_finish_another(*arguments: Any) -> charrnn.Model:
        model = load(*arguments)
        copy_run(gru.path, lab.parent / gru.name)
        os.utime(lab / "latest", (100, 100))
        return model

    expected = command("visualize", lab.name, "--history", "--detector", "quote", "--json")
    assert expected.code == 0, expected.err
    monkeypatch.setattr("charrnn.api.load", load_and_finish_another)
    assert command("visualize", "--history", "--detector", "quote", "--json") == expected
    assert charrnn.api.open_run_to_read(None)[0].path.name == gru.name


def test_a_sparkline_stands_under_each_line_also_in_colour(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without colour it stands there anyway; in colour the blocks are those of the uncoloured picture."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    options = ("visualize", "--text", fresh_file, "--chars", 200)
    for picture, above in ((("--cell", "0:3"), text_above_page), (("--surprise",), str.splitlines)):
        coloured, with_line = (above(command(*options, *picture, *more).out) for more in ((), ("--sparkline",)))
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in with_line]
        lines = [line for line in plain[2:] if line and set(line) <= set("▁▂▃▄▅▆▇█ ")]
        assert len(lines) >= 3
        assert len(with_line) == len(coloured) + len(lines)
        monkeypatch.delenv("FORCE_COLOR")
        uncoloured = above(command(*options, *picture).out)
        assert lines == [line for line in uncoloured[2:] if line and set(line) <= set("▁▂▃▄▅▆▇█ ")]
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert command("visualize", "--text", fresh_file, "--top", 1, "--sparkline").out.count("█") > 3


@pytest.mark.parametrize("other", [("--find",), ("--gates",), ("--ablate", "0:1"), ("--cell", "0:1", "--guesses")])
def test_a_sparkline_needs_a_coloured_text(command: Command, lab: Path, other: tuple[str, ...]) -> None:
    ran = command("visualize", "--sparkline", *other)
    assert (ran.code, ran.out) == (2, "")
    assert "--sparkline" in ran.err


def test_an_export_never_replaces_the_text_it_shows(command: Command, lab: Path, fresh_file: Path) -> None:
    text = Path("mine.txt")
    shutil.copyfile(fresh_file, text)
    ran = command("visualize", "--text", text, "--cell", "0:1", "--export", "./mine.txt")
    assert (ran.code, ran.out) == (2, "") and "that is the text" in ran.err
    assert text.read_bytes() == fresh_file.read_bytes()
    text.with_suffix(".svg").write_text("an older picture")
    assert command("visualize", "--text", text, "--cell", "0:1", "--export", "mine.svg").code == 0


def test_a_pattern_that_never_ends_is_given_up(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.cli.visualize.MAX_LABEL_SECONDS", 0.2)
    ran = command("visualize", "--text", fresh_file, "--find", "--detect", r"(\w+\s*)+\x00")
    assert (ran.code, ran.out) == (2, "")
    assert "not finished" in ran.err and "--detect (" in ran.err


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


def test_only_the_beginning_of_a_long_text_is_scored_and_that_is_said(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.cli.visualize.CHARS_SCORED", 5_000)
    ran = command("visualize", "--text", fresh_file, "--find")
    assert ran.code == 0 and f"5,000 of {len(fresh_file.read_text()):,} characters" in " ".join(ran.out.split())


def test_a_detector_named_twice_is_shown_once(command: Command, lab: Path, fresh_file: Path) -> None:
    options = ("--text", fresh_file, "--find", "--json", "--detector", "quote")
    assert len(json.loads(command("visualize", *options, "--detector", "quote").out)) == 1


def test_ablation_says_why_a_detector_is_left_out_as_find_does(command: Command, lab: Path, fresh_file: Path) -> None:
    said = [command("visualize", "--text", fresh_file, *mode).out for mode in (("--find",), ("--ablate", "0:1"))]
    skipped = [sorted(line for line in out.splitlines() if "not scored, this text is no" in line) for out in said]
    assert skipped[0] == skipped[1] and any("not a play" in line for line in skipped[0])


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
    for name in ("picture.svg", "numbers.npz", "page.html"):
        Path(name).write_text("the older one")
        before = sorted(Path().iterdir())
        ran = command("visualize", "--text", fresh_file, "--cell", "0:1", "--export", name)
        assert (ran.code, ran.out) == (1, "")
        assert "No space left" in ran.err and "bytes needed" in ran.err
        assert Path(name).read_text() == "the older one" and sorted(Path().iterdir()) == before


def test_no_columns_at_all_are_eighty(command: Command, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = command("visualize", "--find").out
    monkeypatch.setenv("COLUMNS", "0")
    assert command("visualize", "--find").out == usual


def test_the_bars_of_an_ablation_name_the_values_of_the_cell(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []

    def record(label: str, total: int, **options: object) -> Any:
        labels.append(label)
        return nullcontext(lambda num_done: None)

    monkeypatch.setattr("charrnn.cli.analyses.task", record)
    assert command("visualize", "--text", fresh_file, "--ablate", "0:5", "--detector", "quote").code == 0
    assert labels == ["clamped at its mean", "clamped at 0"]


def test_scoring_and_measuring_have_bars_of_their_own(
    command: Command, lab: Path, fresh_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: dict[str, list[int]] = {}

    def record(label: str, total: int, **options: object) -> Any:
        counts = done[label] = [total]
        return nullcontext(counts.append)

    monkeypatch.setattr("charrnn.cli.analyses.task", record)
    found = ("visualize", "--text", fresh_file, "--detector", "quote", "--detector", "capital", "--recompute")
    assert command(*found).code == 0
    assert done["scoring"][0] == 2 >= sum(done["scoring"][1:]) > 0
    assert command("visualize", "--text", fresh_file, "--cell", "0:5").code == 0
    total, *parts = done["measuring"]
    assert total == sum(parts) == 5
