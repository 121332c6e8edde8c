"""`charrnn visualize` as a whole: table, pictures and the figures behind them. N characters, L
layers, H units.
"""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_corpus

import charrnn
from charrnn.cells.records import CellScore
from charrnn.detectors.registry import DETECTORS


@pytest.fixture(scope="session")
def fresh():
    """A text like the corpus that no model has seen."""
    return make_corpus(num_chars=2_000, seed=1)


@pytest.fixture
def fresh_file(fresh, lab, tmp_path):
    path = tmp_path / "fresh.txt"
    path.write_bytes(fresh.text.encode())
    return path


def find(command, *arguments):
    """The object of --json, or the scores of the findings."""
    ran = command("visualize", *arguments, "--json")
    assert (ran.code, ran.notes) == (0, "")
    found = json.loads(ran.out)
    if "findings" in found:
        return found["findings"]
    return found


def table_rows(out):
    """The cells of the ranked table's rows by detector, in order."""
    rows = (re.split(r" {2,}", line.strip()) for line in out.splitlines())
    return {row[0]: row[1:] for row in rows if row[0] in DETECTORS and len(row) > 3}


def test_by_itself_it_shows_a_table_and_three_best_cells(command, lab, corpus):
    ran = command("visualize")
    assert (ran.code, ran.notes) == (0, "")
    scores = find(command, "--find")
    assert list(table_rows(ran.out)) == [score["detector"] for score in scores]
    captions = re.findall(r"(?m)^cell (\d+):(\d+) follows ([\w-]+) ", ran.out)
    # Those that exceed the untrained baseline most, not the strongest.
    found = [score for score in (CellScore(**score) for score in scores) if score.is_significant]
    best = sorted(found, key=lambda score: -score.gain)[:3]
    assert captions == [(str(one.layer), str(one.unit), one.detector) for one in best]
    for picture in ran.out.split(" follows ")[1:]:
        lines = [line.removesuffix("↵") for line in picture.splitlines() if line.endswith("↵")]
        assert len(lines) > 3 and "\n".join(lines) in corpus.text[int(0.9 * len(corpus.text)) :]


@pytest.mark.parametrize(
    "options, text",
    [("--cell 0:1 --guesses", "z"), ("--surprise", "zi"), ("", 20 * "zib fo mul\n")],
)
def test_a_text_to_look_at_may_be_short(command, lab, text, options):
    Path("short.txt").write_text(text)
    ran = command("visualize --text short.txt", *options.split())
    assert ran.code == 0
    assert "cannot be learned from" not in ran.err and "Warning" not in ran.err


def test_arrays_are_trace_and_labels(command, lab, fresh_file, fresh):
    assert command("visualize --text", fresh_file, "--export", "all.npz").out == "all.npz\n"
    with np.load("all.npz", allow_pickle=False) as arrays:
        text = str(arrays["text"])
        assert text == fresh.text[: len(text)]
        assert arrays["scored"].tolist() == [index >= len(text) // 2 for index in range(len(text))]
        assert arrays["labels_quote"].tolist() == fresh.is_quoted[: len(text)].tolist()
        trace = charrnn.load(lab).trace(text, keeps_hidden=True)
        for name in ("ids", "cells", "hidden", "logprobs"):
            np.testing.assert_allclose(arrays[name], getattr(trace, name), atol=1e-4)


@pytest.mark.parametrize(
    "line, name",
    [
        ("visualize --detector quote --find", "findings"),
        ("evaluate --text fresh.txt --ngrams", "rows"),
        ("predict the", None),
    ],
)
def test_a_table_for_a_spreadsheet_has_the_rows_of_json(command, lab, fresh_file, line, name):
    data = json.loads(command(line, "--json").out)
    expected = data[name] if name else data
    assert command(line, "--export", "t.csv").code == 0
    with Path("t.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == len(expected) > 0
    for row, record in zip(rows, expected, strict=True):
        numbers = {key: value for key, value in record.items() if isinstance(value, float)}
        assert numbers == {key: float(row[key]) for key in numbers}


@pytest.mark.parametrize(
    "typed, name",
    [
        ("vowel: [aeiou]", "vowel"),
        ("[aeiou]=?", "[aeiou]=?"),
        ("o=|[aeiou]", "o=|[aeiou]"),
        ("(?:b: )?[aeiou]", "(?:b: )?[aeiou]"),
    ],
)
def test_a_detector_has_the_name_before_its_colon_or_that_of_the_whole_expression(
    command, lab, fresh_file, typed, name
):
    ran = command("visualize --find --json --text", fresh_file, "--detect", typed)
    data = json.loads(ran.out)
    assert {found["detector"] for found in (*data["findings"], *data["skipped"])} == {name}
    assert ("is an expression with = in it" in ran.err) == typed.startswith("o=")


def test_the_surprise_lists_words_and_sentences_of_the_whole_text(command, lab):
    Path("lamps.txt").write_text("The lamp was lit. " * 60 + "Qxzvj.\n", encoding="utf-8")
    ran = command("visualize --text lamps.txt --surprise --chars 100")
    assert "likely of 61 sentences" in ran.out and "Qxzvj." in ran.out
    assert "100 of 1,087 (--chars)" in ran.out
    path = Path("lamps.txt").resolve()
    data = json.loads(command("visualize --text", path, "--surprise", "--chars", 100, "--json").out)
    assert len(data["bits"]) == 100
    words = {word["text"] for word in data["words"]["least"]}
    assert data["words"]["least"][0]["file"] == "lamps.txt"
    assert words == {"The", "lamp", "was", "lit.", "Qxzvj."}


def test_a_page_shows_the_strongest_cells_with_a_link_to_each(command, lab, fresh_file):
    ran = command("visualize --text", fresh_file, "--top", 3, "--export", "cells.html")
    assert ran.code == 0, ran.err
    page = Path("cells.html").read_text(encoding="utf-8")
    links = re.findall(r'<a [^>]*href="#(cell-\d+-\d+)"', page)
    places = re.findall(r'id="(cell-\d+-\d+)"', page)
    assert len(places) == 3 and set(links) == set(places)
    best = find(command, "--text", fresh_file, "--find")[0]
    assert places[0] == f"cell-{best['layer']}-{best['unit']}"
    assert page.count("is high and low") == 3
    assert "<script" not in page


def test_the_older_export_stays(command, lab, fresh_file, monkeypatch):
    def fill(path, data):
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charrnn.system.files.write_synced", fill)
    older = '<svg class="charrnn"/>'
    Path("a.svg").write_text(older)
    before = sorted(Path().iterdir())
    ran = command("visualize --text", fresh_file, "--surprise", "--export", "a.svg")
    assert (
        (ran.code, ran.out) == (1, "") and "No space left" in ran.err and "bytes needed" in ran.err
    )
    assert Path("a.svg").read_text() == older and sorted(Path().iterdir()) == before
