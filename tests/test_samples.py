"""samples.txt: each step once, whatever text the model generated."""

from pathlib import Path

from charrnn.runs.logs import SampleLog


def test_samples_are_kept_by_step(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.txt")
    assert log.steps() == []
    log.append(0, "first\nlines\n")
    log.append(4, "second")
    assert log.path.read_text() == "--- step 0 ---\nfirst\nlines\n\n\n--- step 4 ---\nsecond\n\n"
    assert log.steps() == [0, 4]


def test_a_rewind_drops_later_samples_and_nothing_else(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.txt")
    log.rewind(3)
    assert not log.path.exists()
    for step in (0, 1, 4, 16):
        log.append(step, f"written at {step}\r\n\rodd line ends")
    before = log.path.read_bytes()
    log.rewind(16)
    assert log.path.read_bytes() == before
    log.rewind(3)
    assert log.steps() == [0, 1]
    assert before.startswith(log.path.read_bytes())


def test_what_looks_like_a_heading_is_none(tmp_path: Path) -> None:
    log = SampleLog(tmp_path / "samples.txt")
    log.append(0, "zib\n--- step 99 ---\nfon")
    log.append(1, "--- step 98 ---\n")
    log.rewind(1)
    assert log.steps() == [0, 1]
    assert "fon" in log.path.read_text()
