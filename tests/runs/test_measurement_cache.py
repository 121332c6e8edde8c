"""Findings are kept in the user's cache folder, and measured again where they are missing.

Tests `cells.records`, `cells.known_cells` and `system.cache_folders`, too.
"""

import json
import os
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import make_corpus

import charrnn
from charrnn.cells import study
from charrnn.cells.scores import Measured, score_targets
from charrnn.cells.target_labels import choose_targets
from charrnn.cells.trace import read_windows
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS
from charrnn.runs import measurement_cache
from charrnn.runs.measurement_cache import (
    MeasurementCache,
    code_digest,
    decode,
    encode,
    program_digest,
)
from charrnn.system.cache_folders import cache_folder

TEXT = make_corpus(num_chars=2_000, seed=2).text
QUOTE = "visualize --detector quote --text mine.txt"
KEY = {"of": 1}


@dataclass(frozen=True)
class Part:
    """Numbers and text that may be missing."""

    begin: int
    share: float | None
    name: str | None = None


@dataclass(frozen=True)
class Whole:
    """Parts, a pair, arrays and a truth value."""

    parts: tuple[Part, ...]
    pair: tuple[float, int]
    values: NDArray[np.float32]
    columns: NDArray[np.int64]
    is_it: bool


@pytest.fixture
def quote_is_kept(command, lab, tmp_path):
    """What `QUOTE` shows of the run in `lab` has just been measured."""
    (tmp_path / "mine.txt").write_text(TEXT, "utf-8")
    assert command(QUOTE).code == 0


def survey(lab, *detectors, text=TEXT, **options):
    """Survey a text as a new process would."""
    return list(charrnn.load(lab).survey(text, detectors=detectors, cached=True, **options).scores)


@pytest.fixture
def measured(monkeypatch):
    """Grows by the names of the targets that are measured."""
    names = []

    def measure(targets, read, **options):
        names.extend(target.name for target in targets)
        return real(targets, read, **options)

    real = study.score_targets
    monkeypatch.setattr(study, "score_targets", measure)
    return names


def save(value, key=KEY):
    """Save a value as a process of its own would; return its file."""
    before = set(saved_files())
    MeasurementCache("identity").save("score", key, value)
    (path,) = set(saved_files()) - before
    return path


def load(identity="identity"):
    """Load the value of `KEY` as a process of its own would."""
    return MeasurementCache(identity).load("score", KEY, float)


def saved_files():
    return list(cache_folder("findings").glob("*"))


# --- what is measured again


def test_a_second_call_shows_the_same_without_torch(command, quote_is_kept, process):
    first = command(f"{QUOTE} --json --recompute").out
    code = "import sys; from charrnn.commands.app import run; code = run(sys.argv[1:]); "
    code += "print(code, sorted({'torch', 'numba'} & set(sys.modules)), file=sys.stderr)"
    ran = process("-c", code, *QUOTE.split(), "--json")
    assert json.loads(first)["findings"][0]["detector"] == "quote"
    assert ran.stderr.decode().splitlines()[-1] == "0 []"
    assert ran.stdout.decode() == first


def test_only_the_missing_detector_is_measured(lab, measured):
    first = survey(lab, "quote")
    both = survey(lab, "quote", "indentation")
    assert measured == ["quote", "indentation"]
    assert first[0] in both
    assert survey(lab, "quote", "indentation") == both
    assert measured == ["quote", "indentation"]


@pytest.mark.parametrize("options", [{"text": TEXT[:-1]}, {"context": "zib"}, {"untrained": False}])
def test_another_text_context_or_comparison_is_measured(lab, measured, options):
    first = survey(lab, "quote")
    survey(lab, "quote", **options)
    assert measured == ["quote"] * 2
    assert survey(lab, "quote") == first
    assert measured == ["quote"] * 2


def letters(wanted, name="mine.py"):
    return Detector(name, wanted, lambda text: np.isin([*text], [*wanted]))


def test_a_detector_is_known_by_its_labels(lab, measured):
    """A file may give other labels each time, whatever it is called."""
    first = survey(lab, letters("aeiou"))
    renamed = survey(lab, letters("aeiou", name="[aeiou]"))
    assert [replace(score, detector="mine.py") for score in renamed] == first
    assert measured == ["mine.py"]
    assert survey(lab, letters("lmnz")) != first
    assert measured == ["mine.py"] * 2


def test_another_program_measures_anew(lab, measured, monkeypatch):
    survey(lab, "quote")
    monkeypatch.setattr(measurement_cache, "program_digest", lambda: "another")
    survey(lab, "quote")
    assert measured == ["quote"] * 2


MODULE = '"""Rate."""\n\nRATE = 2  # per second\n\n\ndef rate():\n    return RATE\n'


@pytest.fixture
def digest_of(tmp_path):
    """Write a package of one module; return the digest of its code."""

    def call(source, folder="cells"):
        module = tmp_path / "package" / folder / "rate.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(source, "utf-8")
        return code_digest(tmp_path / "package")

    return call


def test_an_edited_line_measures_anew(digest_of):
    first = digest_of(MODULE)
    assert digest_of(MODULE.replace("return RATE", "return 2")) != first
    assert digest_of(MODULE) == first


@pytest.mark.parametrize("part", ["metadata.version", "_processor", "other_packages"])
def test_another_library_or_processor_measures_anew(monkeypatch, part):
    usual = program_digest()
    monkeypatch.setattr(f"charrnn.runs.measurement_cache.{part}", lambda *_: "another")
    program_digest.cache_clear()
    changed = program_digest()
    program_digest.cache_clear()
    assert changed != usual


# --- files


def test_a_value_is_found_by_its_weights_kind_and_key():
    save(0.5)
    assert load() == 0.5
    assert load(identity="other weights") is None
    assert MeasurementCache("identity").load("other kind", KEY, float) is None
    assert MeasurementCache("identity").load("score", {"of": 2}, float) is None


def half(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7"))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [half, flipped, empty])
def test_a_damaged_file_is_measured_again_with_one_warning(damage):
    path = save(0.5)
    damage(path)
    with pytest.warns(RuntimeWarning, match=f"{path.name} is damaged: .* is measured again"):
        assert load() is None
    MeasurementCache("identity").save("score", KEY, 0.5)
    assert load() == 0.5, "without a warning"


def test_the_oldest_files_are_deleted(monkeypatch):
    paths = []
    for number in range(10):
        paths.append(save("x" * 1_000, {"of": number}))
        os.utime(paths[-1], (number, number))
    monkeypatch.setattr(measurement_cache, "MAX_FOLDER_BYTES", 5_000)
    newest = save(0.5, {"of": 10})
    assert {*saved_files()} == {*paths[-4:], newest}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
def test_findings_in_a_folder_that_others_can_write_are_not_read():
    folder = save(0.5).parent
    for mode, found in ((0o770, None), (0o707, None), (0o755, 0.5)):
        folder.chmod(mode)
        assert load() == found


@pytest.mark.parametrize("folder", ["cache", "~/cache"])
def test_findings_of_the_current_folder_are_not_read(tmp_path, monkeypatch, folder):
    path = save(0.5)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(path.parents[1], folder)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setenv("CHARRNN_CACHE", folder)
    assert load() is None
    MeasurementCache("identity").save("score", {"of": 2}, 0.7)
    assert [path.name] == os.listdir(Path(folder, "findings"))


# --- found cells


def test_found_cells_are_kept_for_an_exported_page_which_contains_nothing_of_the_text(
    command, lab, quote_is_kept, monkeypatch
):
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", True)
    gain = property(lambda score: 0.25 if score.detector == "quote" else 0.5)
    monkeypatch.setattr("charrnn.cells.records.CellScore.gain", gain)
    assert command(QUOTE).code == 0
    (first,) = charrnn.load(lab).found_cells
    assert (first.detector, first.gain) == ("quote", 0.25)

    # Another detector is added; a pattern, which may be of the text, is not.
    own = ("--detect", "[aeiou]", "--detector", "word-position")
    assert command("visualize --text mine.txt", *own).code == 0
    best, second = charrnn.load(lab).found_cells
    assert best.detector == "word-position"
    assert second == first

    assert command("export", lab, "page.html").code == 0
    page = Path("page.html").read_text("utf-8")
    cell = best.layer * charrnn.load(lab).config.hidden_size + best.unit
    assert f'"cell":{cell},"polarity":{best.polarity}}},{{"name":"quote",' in page
    assert "aeiou" not in page
    assert [line for line in TEXT.splitlines() if len(line) > 20 and line in page] == []


def test_a_detector_without_a_significant_cell_is_not_found_any_more(
    command, lab, quote_is_kept, monkeypatch
):
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", True)
    monkeypatch.setattr("charrnn.cells.records.CellScore.gain", 0.5)
    assert command(f"{QUOTE} --detector word-position").code == 0
    monkeypatch.setattr("charrnn.cells.records.CellScore.is_significant", False)
    assert command(QUOTE).code == 0
    assert [one.detector for one in charrnn.load(lab).found_cells] == ["word-position"]


# --- JSON and back


def in_json(value):
    return json.loads(json.dumps(encode(value)))


def test_what_is_written_is_read_back_exactly():
    values, columns = np.array([0.1, -1 / 3], np.float32), np.array([3, -1])
    parts = (Part(99, 0.25, "ä\ud800"), Part(0, None))
    whole = Whole(parts, (1.0, 2), values, columns, is_it=True)
    found = decode(Whole, in_json(whole))
    assert (found.parts, found.pair, found.is_it) == (parts, (1.0, 2), True)
    assert found.values.dtype == np.float32
    assert (found.values == values).all()
    assert found.columns.dtype == np.int64
    assert (found.columns == columns).all()


def test_a_measurement_is_read_back_exactly(lstm):
    model = charrnn.load(lstm.path)
    targets = choose_targets(TEXT, [DETECTORS["quote"]]).targets
    study = model.study(TEXT)
    read_untrained = partial(read_windows, model.untrained_baseline(), study.text)
    (measured,) = score_targets(targets, study.windows, num_units=32, read_untrained=read_untrained)
    back = decode(Measured, in_json(measured))
    assert back.score == measured.score
    assert (back.on_choosing_half == measured.on_choosing_half).all()
