"""The text of a run is found again where it was or where the run is now, and no other text is
accepted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import make_corpus

from charrnn.config.settings import Config
from charrnn.errors import DataError
from charrnn.text.corpus import read_corpus
from charrnn.text.reader import read_sources
from charrnn.text.recorded_corpus import recorded_corpus, state_of_corpus

TEXT = make_corpus(num_chars=3_000).text
OTHER = TEXT.upper()


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """The working folder, in another one, with `novel.txt` in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("novel.txt").write_text(TEXT, encoding="utf-8")
    return folder


def record(*sources, **settings):
    """What a run that learns these sources now records of them."""
    config = Config(corpus=sources, **settings)
    state = state_of_corpus(read_corpus(config))
    recorded = recorded_corpus("novel-001", config, state, folder=Path())
    assert recorded is not None
    return recorded


def leave(monkeypatch, tmp_path):
    """Go to another folder, which is empty."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Path.cwd()


def refusal_of(recorded):
    """Return the error of a text that is not found."""
    with pytest.raises(DataError) as caught:
        recorded.read(instead="give --text FILE")
    return str(caught.value)


@pytest.mark.parametrize("sources", [(".",), ("novel.txt", "novel")])
def test_it_is_found_from_elsewhere(sources, tmp_path, monkeypatch):
    recorded = record(*sources)
    content = recorded.read().content
    leave(monkeypatch, tmp_path)
    assert recorded.read().content == content and str(content).startswith(TEXT)


def test_it_is_found_moved_with_the_run(project, tmp_path, monkeypatch):
    recorded = record("novel.txt")
    monkeypatch.chdir(project.rename(tmp_path / "renamed"))
    corpus = recorded.read()
    (origin,) = corpus.source_text.origins
    assert (corpus.content, origin.location) == (TEXT, str(tmp_path / "renamed" / "novel.txt"))


@pytest.mark.parametrize(
    ("source", "place"), [("novel.txt", "novel-001"), ("../project/novel.txt", "checkpoints/a-001")]
)
def test_it_is_found_beside_a_run_that_was_moved_from_elsewhere(
    source, place, project, tmp_path, monkeypatch
):
    recorded = record(source)
    leave(monkeypatch, tmp_path)
    moved = project.rename(tmp_path / "renamed")
    assert replace(recorded, folder=moved / place).read().content == TEXT
    (moved / "novel.txt").write_text(OTHER, encoding="utf-8")
    assert "is not here" in refusal_of(replace(recorded, folder=moved / place))


def test_another_text_is_passed_over(project, tmp_path, monkeypatch):
    recorded = record("novel.txt")
    here = leave(monkeypatch, tmp_path)
    shutil.copy(project / "novel.txt", here / "novel.txt")
    (project / "novel.txt").write_text(OTHER, encoding="utf-8")
    assert recorded.read().content == TEXT
    (here / "novel.txt").write_text(OTHER, encoding="utf-8")
    refusal = refusal_of(recorded)
    assert "has changed" in refusal, "which says more than that it is not where it was"
    # The run, the file that was typed, and every way out: that of the caller, too.
    for part in ("novel-001", "novel.txt", "give --text FILE", "`init_from=novel-001`"):
        assert part in refusal


@pytest.mark.parametrize("locations", ["/novel.txt", ["../novel.txt"], [[7]]])
def test_locations_that_cannot_be_its_own_count_as_not_recorded(locations):
    config = Config(corpus=("novel.txt",))
    recorded = recorded_corpus(
        "evil-001", config, {"corpus_digest": "0" * 64, "corpus_locations": locations}
    )
    assert recorded.locations == ()


@pytest.mark.parametrize("state", [{}, {"corpus_digest": 7, "corpus_locations": ["/a"]}])
def test_without_a_digest_nothing_is_known_of_a_text(state):
    assert recorded_corpus("evil-001", Config(corpus=("novel.txt",)), state) is None


def test_a_text_that_has_changed_is_read_once(monkeypatch):
    recorded = record("novel.txt")
    Path("novel.txt").write_text(OTHER, encoding="utf-8")
    num_read = []

    def read(*args, **named):
        num_read.append(1)
        return read_sources(*args, **named)

    monkeypatch.setattr("charrnn.text.recorded_corpus.read_sources", read)
    assert "has changed" in refusal_of(recorded)
    assert num_read == [1]
