"""Cached findings are used if they are intact and of this checkpoint, and measured again otherwise.

A measurement is read back exactly as it was written, and anything else is refused.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import TrainedRun
from fixture_types import Command, Process
from numpy.typing import NDArray
from saved_runs import commit, make_run
from synthetic import make_corpus

import charrnn
from charrnn.cells import analysis as study
from charrnn.cells import saved
from charrnn.cells.analysis import FOUND_CELLS, found_cells
from charrnn.cells.findings import Ablation, CellScore
from charrnn.cells.saved import (
    MEASURING,
    End,
    Layer,
    Place,
    Share,
    Unit,
    decode,
    encode,
    program_digest,
)
from charrnn.cells.scores import Measured, choose_targets, measure
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS
from charrnn.runs import findings_cache as findings_module
from charrnn.runs.findings_cache import MAX_BYTES, FindingsCache, findings_path
from charrnn.system.files import JSON

TEXT = make_corpus(num_chars=2_000, seed=2).text
QUOTE = ("visualize", "--detector", "quote", "--text", "mine.txt")


@pytest.fixture
def kept(command: Command, lab: Path, tmp_path: Path) -> Path:
    """The file with the findings of the run in `lab`, which have just been measured for `QUOTE`."""
    (tmp_path / "mine.txt").write_text(TEXT, encoding="utf-8")
    assert command(*QUOTE).code == 0
    return findings_path(lab, charrnn.load(lab).findings.step_name)


def survey(
    lab: Path, *detectors: str | Detector, text: str = TEXT, **options: Any
) -> list[CellScore]:
    """Survey a text as a new process would."""
    return list(charrnn.load(lab).survey(text, detectors=detectors, cached=True, **options).scores)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the names of the targets that are measured."""
    names: list[str] = []

    def measure(targets: Any, *arguments: Any) -> Any:
        names.extend(target.name for target in targets)
        return real(targets, *arguments)

    real = study.measure
    monkeypatch.setattr(study, "measure", measure)
    return names


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a file says and sign it anew, as somebody who forges it would."""
    findings = json.loads(path.read_bytes())["findings"]
    change(findings)
    body = json.dumps(findings, separators=(",", ":"))
    digest = hashlib.sha256(body.encode("ascii")).hexdigest()
    path.write_text(f'{{"sha256":"{digest}","findings":{body}}}\n', encoding="ascii")


def test_a_second_call_shows_the_same_without_torch(
    command: Command, kept: Path, process: Process
) -> None:
    first = command(*QUOTE, "--json", "--recompute").out
    assert json.loads(first)[0]["detector"] == "quote"
    code = "import sys; from charrnn.cli.app import run; code = run(sys.argv[1:]); "
    code += "print(code, sorted({'torch', 'numba'} & set(sys.modules)), file=sys.stderr)"
    ran = process("-c", code, *QUOTE, "--json")
    assert (ran.stderr.decode().strip(), ran.stdout.decode()) == ("0 []", first)


def test_only_what_is_missing_is_measured(lab: Path, measured: list[str]) -> None:
    first = survey(lab, "quote")
    both = survey(lab, "quote", "indentation")
    assert measured == ["quote", "indentation"] and first[0] in both
    assert survey(lab, "quote", "indentation") == both and len(measured) == 2
    survey(lab, "quote", text=TEXT[:-1])
    survey(lab, "quote", context="zib")
    survey(lab, "quote", untrained=False)
    assert measured[2:] == ["quote"] * 3, "another text, context or comparison is measured anew"
    assert survey(lab, "quote") == first and len(measured) == 5, "the first text is still known"


def test_a_detector_is_known_by_its_labels(lab: Path, measured: list[str]) -> None:
    """A file may give other labels each time, whatever it is called; one that gives the same is the
    same."""

    def of(letters: str, name: str = "mine.py") -> Detector:
        return Detector(name, letters, lambda text: np.isin([*text], [*letters]))

    first = survey(lab, of("aeiou"))
    assert survey(lab, of("aeiou")) == first and measured == ["mine.py"]
    assert [
        replace(score, detector="mine.py") for score in survey(lab, of("aeiou", "[aeiou]"))
    ] == first
    assert survey(lab, of("lmnz")) != first and measured == ["mine.py"] * 2
    model, warned = charrnn.load(lab), []
    model.findings.on_warning = warned.append
    model.survey(TEXT, detectors=[of("aeio"), of("aeio", "twice")], cached=True)
    assert measured[2:] == ["mine.py", "twice"] and warned == []


STEP = "step-00000001"


def cache(run: Path) -> FindingsCache:
    return FindingsCache(run, STEP, "identity")


def put_score(run: Path, step: str = STEP) -> None:
    """Measure 0.5 of something in a process of its own."""
    written = FindingsCache(run, step, "identity")
    written.put("score", {"of": 1}, 0.5)
    written.save()


WAYS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[:99]),
    "flipped": lambda path: path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7")),
    "large": lambda path: path.write_bytes(path.read_bytes() + b" " * MAX_BYTES),
    "link": lambda path: (
        path.rename(path.with_name("elsewhere.json")) and path.symlink_to("elsewhere.json")
    ),
    "folder": lambda path: path.unlink() or path.mkdir(),
    "pipe": lambda path: path.unlink() or os.mkfifo(path),
    "format": lambda path: rewrite(path, lambda it: it.update(format=2)),
    "identity": lambda path: rewrite(path, lambda it: it.update(identity="another")),
    "not finite": lambda path: rewrite(
        path, lambda it: it["entries"].update(other=[math.inf, math.nan])
    ),
    "no entries": lambda path: rewrite(path, lambda it: it.update(entries=[])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_or_foreign_file_is_not_used_and_made_again(tmp_path: Path, way: str) -> None:
    put_score(tmp_path)
    path = findings_path(tmp_path, STEP)
    whole = path.read_bytes()
    WAYS[way](path)
    assert cache(tmp_path).get("score", {"of": 1}) is None
    put_score(tmp_path)
    if way == "folder":  # which is somebody's, perhaps with something in it
        assert path.is_dir()
    else:
        assert path.read_bytes() == whole and not path.is_symlink()
        assert cache(tmp_path).get("score", {"of": 1}) == 0.5


def test_what_is_ignored_is_ignored_after_a_save_too(tmp_path: Path) -> None:
    put_score(tmp_path)
    again = cache(tmp_path)
    again.ignore_saved()
    again.put("other", {"of": 1}, 1.0)
    again.save()
    assert (again.get("score", {"of": 1}), again.get("other", {"of": 1})) == (None, 1.0)


def test_a_number_of_hundreds_of_digits_is_no_number_in_a_warning(tmp_path: Path) -> None:
    found, told = cache(tmp_path), list[str]()
    found.on_warning = told.append
    found.report("score", 10**400, 0.5)
    assert "an entry in it (score) is 0.5 when measured again" in told[0]


def test_a_full_disk_or_a_link_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = tmp_path / "findings", tmp_path / "outside"
    outside.mkdir()
    folder.symlink_to(outside)
    put_score(tmp_path)
    assert list(outside.iterdir()) == []
    folder.unlink()
    folder.write_text("a file of somebody's")
    put_score(tmp_path)
    assert folder.is_file()
    folder.unlink()

    def fill(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("charrnn.system.files.write_synced", fill)
    put_score(tmp_path)
    assert list(folder.iterdir()) == []


def test_a_measurement_comes_back_as_it_was_and_what_is_signed_but_no_finding_does_not(
    lstm: TrainedRun,
) -> None:
    model = charrnn.load(lstm.path)
    targets, _ = choose_targets(TEXT, [DETECTORS["quote"]])
    study = model.study(TEXT)
    (measured,) = measure(
        targets, study.reader(model.network), 32, study.reader(model.untrained_baseline())
    )

    def read(value: Any) -> Measured | None:
        back = decode(Measured, value, {"layers": 1, "units": 32, "chars": len(TEXT)})
        return back if back is not None and back.fits(32) else None

    saved_score, strengths = json.loads(json.dumps(encode(measured), allow_nan=False))
    back = read([saved_score, strengths])
    assert back is not None and not back.fits(31)
    assert back.score == measured.score and (back.first_half == measured.first_half).all()
    for other in ([None, strengths], [saved_score[:-1], strengths], [saved_score, [1.5] * 32]):
        assert read(other) is None
    names = [field.name for field in fields(CellScore)]
    wrong: list[dict[str, Any]] = [
        *(
            {"unit": 32},
            {"polarity": 0},
            {"spearman": 0.5},
            {"ci_low": None},
            {"p_value": -0.5},
            {"untrained": 1e300},
        ),
        *({"auc": auc} for auc in (float("nan"), "\x1b[31m0.9", None, 7.5)),
        {"ablation_inside": 0.5, "ablation_outside": 0.5},
        *({"probe": probe} for probe in ([[1, 0.5]], [["1", 0.5]] * 5, [1, 2, 3, 4, 5])),
        {"probe": [[1, 1.5], [2, 0.5], [4, 0.5], [8, 0.5], [32, 0.5]]},
    ]
    for changes in wrong:
        changed = [changes.get(name, value) for name, value in zip(names, saved_score, strict=True)]
        assert read([changed, strengths]) is None, changes


def test_a_score_outside_its_interval_is_measured_again_with_a_warning(
    command: Command, kept: Path
) -> None:
    def forge(findings: dict[str, Any]) -> None:
        (score,) = (
            value[0] for name, value in findings["entries"].items() if name.startswith("score ")
        )
        score[[field.name for field in fields(CellScore)].index("auc")] = 0.987654

    first = command(*QUOTE).out
    rewrite(kept, forge)
    ran = command(*QUOTE)
    assert ran.out == first and " cannot be right: 0.987654 in it (score) is " in ran.err
    assert (
        "visualize with --recompute measures the others" in ran.err and command(*QUOTE).err == ""
    ), "it is replaced"


@pytest.mark.parametrize("wrong", [[4], [7, 0, 1]], ids=["whole text", "inside a detector's spans"])
def test_a_rise_that_cannot_be_is_measured_again(
    lab: Path, wrong: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forge(findings: dict[str, Any]) -> None:
        (value,) = (
            value for name, value in findings["entries"].items() if name.startswith("ablation of ")
        )
        for place in wrong[:-1]:
            value = value[place]
        value[wrong[-1]] = 5.4321

    def measure() -> Ablation:
        return charrnn.load(lab).study(TEXT, cached=True).ablation_of(0, 3)

    monkeypatch.setattr(study, "CHARS_OF_PAGE", 500)
    first = measure()
    rewrite(findings_path(lab, charrnn.load(lab).findings.step_name), forge)
    with pytest.warns(RuntimeWarning, match=r"cannot be right: 5.4321 in it \(ablation of\) is "):
        assert measure() == first


def test_another_program_measures_anew(
    lab: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    survey(lab, "quote")
    path = findings_path(lab, charrnn.load(lab).findings.step_name)
    assert len(saved.program_digest() or "") == 64
    monkeypatch.setattr(saved, "program_digest", lambda: "another")
    survey(lab, "quote")
    monkeypatch.setattr(saved, "program_digest", lambda: None)
    before = path.read_bytes()
    survey(lab, "quote")
    survey(lab, "quote")
    assert measured == ["quote"] * 4 and path.read_bytes() == before, (
        "a program that is not known keeps nothing"
    )


def test_findings_go_with_their_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run-001")
    names = [f"step-{step:08d}" for step in (1, 2, 3)]
    for step, name in enumerate(names, start=1):
        commit(run, step, best_step=1, keep=9)
        put_score(run.path, name)
    assert sorted(path.stem for path in (run.path / "findings").iterdir()) == names
    assert run.checkpoints() == names, "and are no steps themselves"
    commit(run, 4, best_step=1, keep=0)
    assert run.checkpoints() == [names[0], "step-00000004"]
    assert [path.stem for path in (run.path / "findings").iterdir()] == names[:1]


def test_a_file_stays_small_and_the_oldest_entries_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings_module, "MAX_BYTES", 16_384)
    monkeypatch.setattr(findings_module, "MAX_ENTRY_BYTES", 4_096)
    written = cache(tmp_path)
    written.put("values", {"of": "large"}, [0.25] * 1_000)
    for number in range(100):
        written.put("values", {"of": number}, [0.5] * 100)
        written.save()
    assert findings_path(tmp_path, STEP).stat().st_size <= 16_384
    read = cache(tmp_path)
    known = [number for number in range(100) if read.get("values", {"of": number}) is not None]
    assert known == list(range(known[0], 100)) and 20 < len(known) < 40
    assert read.get("values", {"of": "large"}) is None


def test_two_processes_keep_what_either_found(tmp_path: Path) -> None:
    first, second = cache(tmp_path), cache(tmp_path)
    assert first.get("score", {"of": 1}) is second.get("score", {"of": 1}) is None
    for number, one in enumerate((first, second)):
        one.put("score", {"of": number}, float(number))
        one.save()
    assert [cache(tmp_path).get("score", {"of": number}) for number in (0, 1)] == [0.0, 1.0]


def test_found_cells_are_kept_for_an_exported_page_which_contains_nothing_of_the_text(
    command: Command, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr("charrnn.cells.findings.CellScore.is_significant", True)
    monkeypatch.setattr("charrnn.cells.findings.CellScore.gain", 0.25)
    assert command(*QUOTE).code == 0
    (first,) = charrnn.load(lab).found_cells
    assert (first.detector, first.gain) == ("quote", 0.25)
    # Another detector is added; a pattern, which may be of the text, is not.
    monkeypatch.setattr("charrnn.cells.findings.CellScore.gain", 0.5)
    own = ("--detect", "[aeiou]", "--detector", "word-position")
    assert command("visualize", "--text", "mine.txt", *own).code == 0
    both = charrnn.load(lab).found_cells
    assert [one.detector for one in both] == ["word-position", "quote"] and both[1] == first
    assert command("export", lab, tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    cell = both[0].layer * charrnn.load(lab).config.hidden_size + both[0].unit
    assert f'"found":[{{"name":"word-position","cell":{cell}}},{{"name":"quote",' in page
    assert "aeiou" not in page and not any(
        line in page for line in TEXT.splitlines() if len(line) > 20
    )
    # A detector without a significant cell is not found any more.
    monkeypatch.setattr("charrnn.cells.findings.CellScore.is_significant", False)
    assert command(*QUOTE).code == 0
    assert [one.detector for one in charrnn.load(lab).found_cells] == ["word-position"]


def test_only_built_in_detectors_and_cells_of_the_model_are_read_as_found() -> None:
    good = ["quote", 1, 2, 0.5]
    values: list[tuple[Any, list[str]]] = [
        ([good, ["comment", 0, 0, 0.75]], ["comment", "quote"]),
        *(([good, other], ["quote"]) for other in (good, ["<script>", 0, 0, 0.75])),
        *((value, []) for value in (None, "quote", [good[:3]], [[*good, 1]])),
        *(
            ([["quote", *rest]], [])
            for rest in ((2, 0, 0.5), (-1, 0, 0.5), (0, True, 0.5), (0, 0, 1.5))
        ),
    ]
    for value, names in values:
        cache = FindingsCache(None)
        cache.put(FOUND_CELLS, {}, value)
        assert [one.detector for one in found_cells(cache, 2, 4)] == names, value


# --- what is kept


SIZES = {"layers": 2, "units": 3, "chars": 100}


@dataclass(frozen=True)
class Part:
    """An index, a part of the text, a share, and text that may be missing."""

    layer: Layer
    begin: Place
    end: End
    share: Share | None
    name: str | None = None


@dataclass(frozen=True)
class Whole:
    """Parts, a pair, arrays and a truth value."""

    unit: Unit
    parts: tuple[Part, ...]
    pair: tuple[float, int]
    values: NDArray[np.float32]
    columns: NDArray[np.int64]
    is_it: bool


PART = Part(1, 99, 100, 0.25, "ä\ud800")
WHOLE = Whole(
    2,
    (PART, Part(0, 0, 1, None)),
    (1.5, 2),
    np.array([0.1, -1 / 3], np.float32),
    np.array([3, -1]),
    is_it=True,
)


def in_json(value: Any) -> JSON:
    found: JSON = json.loads(json.dumps(encode(value), allow_nan=False))
    return found


def test_what_is_written_is_read_back_exactly() -> None:
    found = decode(Whole, in_json(WHOLE), SIZES)
    assert found is not None
    assert (found.unit, found.parts, found.pair, found.is_it) == (2, WHOLE.parts, (1.5, 2), True)
    assert found.values.dtype == np.float32 and (found.values == WHOLE.values).all()
    assert found.columns.dtype == np.int64 and (found.columns == WHOLE.columns).all()


def test_anything_else_is_refused() -> None:
    for place, wrong in (
        *((0, wrong) for wrong in (None, 2, -1, True, "1")),
        *((1, wrong) for wrong in (100, 0.5)),
        *((2, wrong) for wrong in (101, -1)),
        *((3, wrong) for wrong in (1.25, 1, float("nan"), float("inf"))),
        (4, 1),
    ):
        value: list[JSON] = [1, 99, 100, 0.25, "a"]
        assert decode(Part, value, SIZES) is not None
        others: list[JSON] = [
            {},
            [],
            value[:4],
            [*value, 1],
            [*value[:place], wrong, *value[place + 1 :]],
        ]
        for other in others:
            assert decode(Part, other, SIZES) is None
            assert decode(tuple[Part, ...], [other], SIZES) is None


def test_the_parts_of_a_value_are_checked() -> None:
    for place, wrong in enumerate((3, [[]], [1.5, 2, 3], [0.5, "a"], [0.5], 1)):
        value = in_json(WHOLE)
        assert isinstance(value, list)
        value[place] = wrong
        assert decode(Whole, value, SIZES) is None, place


def test_the_digest_covers_all_code_that_measures_and_other_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harmless = ("errors", "runs.findings_cache", "config.options")
    package = Path(charrnn.__file__).parent
    covered = {path for part in MEASURING for path in package.glob(part)}
    keeps = re.compile(r"\.(kept|kept_each|look_up)\(")
    for source in (
        one
        for one in covered
        if not {"analyses", "reports"} & {*one.parts} or keeps.search(one.read_text("utf-8"))
    ):
        for name in re.findall(r"(?m)^ *from charrnn\.([\w.]+) import", source.read_text("utf-8")):
            path = package / name.replace(".", "/")
            is_covered = {path.with_suffix(".py"), path / "__init__.py"} & covered
            # What draws and names results decides none.
            shows = name in ("api", "evaluation.comparison") or name.startswith(("cli.", "views."))
            assert (
                is_covered
                or name in harmless
                or name.startswith(("hooks.", "system."))
                or (shows and {"analyses", "reports"} & {*source.parts})
            ), (source, name)
    usual, theirs = program_digest(), Mock(package="theirs 1.0", is_own=False)
    monkeypatch.setattr("charrnn.cells.saved.scan_plugins", lambda group, kind: [theirs])
    assert usual != program_digest()
