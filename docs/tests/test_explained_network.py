"""The benchmark that explains a network: its texts, its sentences, and its figures, which NumPy
alone computes again."""

import importlib
import json
from itertools import pairwise

import numpy as np
import pytest
from environment import REPOSITORY

from charrnn.detectors.registry import DETECTORS

pytestmark = [pytest.mark.docs, pytest.mark.trained]


def load(name):
    return importlib.import_module(f"benchmarks.cells.{name}")


@pytest.fixture(scope="module")
def sentences():
    return load("explained_sentences")


def terms_of(sentences, *groups):
    terms = []
    for number, values in enumerate(groups):
        names = tuple(chr(97 + index) for index in range(values.max() + 1))
        terms.append(sentences.Term(f"on{number}", "character", groups=values, names=names))
    return terms


def test_a_generated_text_closes_what_it_opens_and_wraps_its_lines():
    text = load("a_network_explained").make_text(20_000)
    assert text == load("a_network_explained").make_text(20_000)
    assert text.count('"') % 2 == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    for line, following in pairwise(lines):
        assert len(line) + 1 + len(following.split()[0]) > 60
    quoted = text.split('"')[1::2]
    assert not any("(" in one or ")" in one or "." in one for one in quoted)


def test_detectors_that_know_what_follows_are_left_out(sentences):
    text = load("a_network_explained").make_text(20_000)
    ahead = [name for name in DETECTORS if sentences.reads_ahead(DETECTORS[name], text)]
    assert ahead == ["quote", "line-length", "newline-next"]
    usable = {detector.name: detector for detector in sentences.usable_detectors(text)}
    assert "quote" in usable
    assert not any(sentences.reads_ahead(detector, text) for detector in usable.values())
    assert usable["quote"].label('a "b" c').tolist() == [False] * 2 + [True] * 2 + [False] * 3
    depths = sentences.count_brackets("a(b(c)d)e)f")
    assert depths.tolist() == [0, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0]


def test_a_regression_finds_the_terms_of_a_unit_and_their_tables(sentences):
    generator = np.random.default_rng(0)
    groups = [generator.integers(size, size=4_000) for size in (3, 4, 5)]
    tables = [np.array([-2.0, 0.0, 2.0]), np.array([1.0, -1.0, 1.0, -1.0])]
    values = np.stack(
        [tables[0][groups[0]] + tables[1][groups[1]], generator.normal(size=4_000)], axis=1
    )
    fitted = sentences.Regression(terms_of(sentences, *groups), values, slice(3_000))
    assert fitted.choose(0, range(3)) == [0, 1]
    assert fitted.choose(1, range(3)) == []
    predicted = fitted.predict([0, 1], [0])[:, 0]
    assert sentences.r_squared(values[3_000:, 0], predicted[3_000:]) > 0.999
    # As NumPy's least squares find them, with the same ridge.
    one_hot = np.concatenate([np.eye(3)[groups[0]], np.eye(4)[groups[1]]], axis=1)[:3_000]
    centred = values[:3_000, 0] - values[:3_000, 0].mean()
    expected = np.linalg.solve(one_hot.T @ one_hot + np.eye(7), one_hot.T @ centred)
    assert np.allclose(fitted.fit([0, 1], [0])[0][:, 0], expected)


def test_a_sentence_names_the_characters_that_move_the_unit_most(sentences):
    (term,) = terms_of(sentences, np.array([0, 1, 2, 3, 4, 5]))
    table = np.array([3.0, 2.0, 0.1, -0.1, -1.0, -5.0])
    counts = np.array([1.0, 100, 100, 100, 100, 1])
    assert sentences.in_words(term, table, counts) == "high on0 b a c, low on0 e f d"
    written = sentences.as_written(term, table, counts)
    assert written.groups.tolist() == [1, 1, 1, 2, 2, 2]
    state = sentences.Term("in quotes", "quotation", groups=term.groups > 2, names=("no", "yes"))
    assert sentences.in_words(state, np.array([0.2, -0.2]), counts[:2]) == "low in quotes"
    number = sentences.Term("place", "word", groups=term.groups, names=tuple("012345"))
    assert sentences.in_words(number, table, counts) == "falls with place"


@pytest.fixture(scope="module")
def explained(train_run, tmp_path_factory):
    """Explain a tiny network on little text; return the path of its files, without a suffix."""
    script = load("a_network_explained")
    folder = tmp_path_factory.mktemp("explained")
    corpus = folder / "generated.txt"
    corpus.write_text(script.make_text(60_000), encoding="utf-8")
    run = train_run(
        "tiny-lstm",
        corpus=(str(corpus),),
        split=(0.8, 0.1, 0.1),
        hidden_size=6,
        steps=40,
        learning_rate=0.03,
    )
    sizes = script.Sizes(
        num_chars=4_096, segment=256, warm_up=64, num_tested=4, short_segment=64, num_ordering=2
    )
    script.explain(str(run.path), folder, sizes)
    return folder / "tiny-lstm"


def test_an_explanation_says_something_of_every_unit(explained):
    record = json.loads(explained.with_suffix(".json").read_text(encoding="utf-8"))
    assert [row["unit"] for row in record["units"]] == list(range(6))
    assert sorted(record["order"]) == list(range(6))
    assert record["curve"][0][1] == record["mean_only"] > record["network"]
    for row in record["units"]:
        assert row["sentence"]
        assert row["passed"] == all(row["tests"].values())
    assert record["rows"][-1]["share"] > record["rows"][1]["share"]


def test_numpy_alone_computes_the_figures_again(explained):
    figures = [*load("recompute_explanation").recompute(explained)]
    assert len(figures) >= 8
    for name, recorded, recomputed in figures:
        # A segment is read from zero, and there from the state of the text before it.
        assert recomputed == pytest.approx(recorded, abs=2e-3), name


RECORDS = REPOSITORY / "benchmarks/records/2026-11-28-network-explained"
PAGE = RECORDS / "README.md"


def records_of(name):
    """Return the records of a file, by the names of their runs."""
    lines = (RECORDS / name).read_text(encoding="utf-8").splitlines()
    return {record["run"]: record for record in map(json.loads, lines)}


def test_the_page_has_the_shares_of_the_records():
    shown = PAGE.read_text(encoding="utf-8")
    for record in records_of("a-network-explained.jsonl").values():
        cells = [f"{record[name]:.3f}" for name in ("network", "sentences", "mean_only")]
        low, high = record["share_interval"]
        cells.append(f"{record['share']:.3f} ({low:.3f} to {high:.3f})")
        frequencies = record["counts"][0]["loss"]
        known = frequencies - record["network"]
        cells.append(f"{(frequencies - record['sentences']) / known:.3f}")
        written = record["rows"][0]
        low, high = written["interval"]
        cells.append(f"{written['share']:.3f} ({low:.3f} to {high:.3f})")
        cells.append(f"{record['passed']} of {len(record['units'])}")
        assert f"| {record['seed']} | {' | '.join(cells)} |" in shown


def test_the_picture_has_a_tile_for_each_unit(explained):
    record = json.loads(explained.with_suffix(".json").read_text(encoding="utf-8"))
    picture = load("explained_picture")
    assert picture.draw(record).count("<rect") >= 1 + 6
    first = records_of("a-network-explained.jsonl")["war-and-peace-lstm-64-seed0"]
    saved = (REPOSITORY / "docs/pictures/network-explained.svg").read_text(encoding="utf-8")
    assert saved == picture.draw(first)
