"""Check the README and the pages against the code: the examples run, lists are complete, counts and
links are right."""

import contextlib
import io
import json
import re
from xml.etree import ElementTree

import pytest
import torch
from environment import REPOSITORY

from benchmarks.losses import peers
from charrnn.runs.included import read_cards

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
DOCS = REPOSITORY / "docs"

pytestmark = pytest.mark.docs


def python_examples():
    """The Python code of docs/use/python.md, block by block."""
    page = (DOCS / "use" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.trained
def test_the_python_example_runs(corpus_file, tmp_path, monkeypatch, capsys):
    code = python_examples()[0]
    small = "steps=2, hidden_size=8, embedding_size=4, batch_size=4, bptt_length=16, device='cpu'"
    for old, new in {
        '"shakespeare.txt"': repr(str(corpus_file)),
        "minutes=3": small,
        "100_000": "50",
        '"ROMEO:"': '"ab"',
    }.items():
        assert code.count(old) == 1
        code = code.replace(old, new)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "python.md", "exec"), names)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == [
        "synthetic-001"
    ]
    printed = capsys.readouterr().out
    assert "CellScore(detector=" in printed and float(printed.split()[-1]) > 0


def test_the_example_of_interventions_changes_the_predictions(capsys):
    code = python_examples()[2]
    names = {}
    exec(compile(code, "python.md", "exec"), names)
    [recorded, *_] = names["memories"]
    assert len(recorded) == len(names["ids"])
    assert not names["changed"].equal(names["logits"])


@pytest.mark.trained
def test_the_example_of_every_number_is_right(command, capsys):
    assert command("train --recipe hello --steps 20 --out four").code == 0
    capsys.readouterr()
    code = python_examples()[3]
    exec(compile(code, "python.md", "exec"), {})
    zeros = [float(number) for number in re.findall(r"[-+\d.e]+", capsys.readouterr().out)]
    assert zeros == pytest.approx([0] * 6, abs=1e-12)


def test_the_example_of_another_program_computes_what_torch_computes(capsys):
    code = python_examples()[4]
    names = {}
    exec(compile(code, "python.md", "exec"), names)
    assert len(capsys.readouterr().out.removesuffix("\n")) == 20

    model = names["model"]
    ids = torch.tensor(model.encode("hello").ids.astype("int64"))
    with torch.no_grad():
        outputs, _ = names["lstm"](names["embedding"](ids))
        log_probabilities = names["head"](outputs).log_softmax(-1)
    expected = sum(log_probabilities[step, ids[step + 1]].item() for step in range(4))
    # Both sum in float32, in different orders.
    assert model.logprob("hello") == pytest.approx(expected, abs=1e-5)


@pytest.mark.trained
def test_the_example_of_weights_in_torch_predicts_what_the_command_predicts(
    command, corpus_file, tmp_path
):
    options = "--type lstm --layers 2 --hidden-size 8 --steps 2 --alphabet exact --out plain"
    assert command("train", corpus_file, *options.split()).code == 0
    expected = json.loads(command("predict plain --json --", "a b").out)[0]

    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(python_examples()[5], "python.md", "exec"), {})
    printed = out.getvalue().strip()

    assert printed == f"{expected['character']!r} {round(expected['probability'], 4)}"


def test_the_pages_name_every_detector_and_count_the_cell_types():
    from charrnn.config.architectures import CELL_DESCRIPTIONS
    from charrnn.detectors.registry import DETECTORS

    listed = (
        (DOCS / "use" / "visualize.md").read_text(encoding="utf-8").split("For each detector")[0]
    )
    assert [name for name in DETECTORS if f"`{name}`" not in listed] == []
    words = {10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen"}
    number = words[len(CELL_DESCRIPTIONS) - 3]
    assert f"`--type` (lstm, gru, rnn and {number} more)" in (
        DOCS / "use" / "your-text.md"
    ).read_text(encoding="utf-8")
    assert f"[{len(CELL_DESCRIPTIONS)} kinds of RNN]" in README


def test_the_scores_of_the_readme_are_those_of_the_cards():
    rows = re.findall(r"\| `(prose|code)` (\d+:\d+) \| ([\d.]+) \|", README)
    assert len(rows) == 3
    for model, unit, score in rows:
        cells = read_cards()[model]["cells"]
        scores = [
            f"{abs(cell.get('auc', cell.get('spearman'))):.3f}"
            for cell in cells
            if f"{cell['layer']}:{cell['unit']}" == unit
        ]
        assert score in scores


@pytest.mark.parametrize("model", ["prose", "code"])
def test_the_cells_of_the_results_are_all_of_the_cards(model):
    card = read_cards()[model]
    results = (DOCS / "look-up" / "results.md").read_text(encoding="utf-8")
    rows = re.findall(
        rf"(?m)^\| {model} \| `([\w-]+)` \| (0:\d+) \| (?:AUC|ρ) ([+−]?[\d.]+)[ ?]*"
        r"\| [^|]+ \| ([\d.]+) \| ([+−]?[\d.]+) \|",
        results,
    )
    expected = []
    for cell in card["cells"]:
        form = ".3f" if "auc" in cell else "+.3f"
        score = f"{cell.get('auc', cell.get('spearman')):{form}}"
        untrained = f"{cell['untrained']:{form}}"
        unit = f"{cell['layer']}:{cell['unit']}"
        levels = f"{cell['null_level']:.3f}", untrained.replace("-", "−")
        expected.append((cell["detector"], unit, score.replace("-", "−"), *levels))
    assert sorted(rows) == sorted(expected)


def test_the_losses_of_the_readme_and_its_bars_are_those_that_were_measured():
    rows = peers.table_of(peers.read_rows(DOCS / "peers.csv"))
    measured = {
        row["program"].removesuffix(", 3 minutes"): f"{float(row['loss'].split()[0]):.3f}"
        for row in rows
        if row["program"].endswith((", 3 minutes", "n-grams"))
    }
    picture = (DOCS / "pictures" / "bars-light.svg").read_text(encoding="utf-8")
    shown = re.findall(r">([\w.\xa0 -]+?)[\xa0 ]+(\d\.\d{3})<", picture)
    assert dict(shown) == measured
    assert f"charrnn has the lowest loss, {measured['charrnn']}" in README


def test_the_pages_install_the_torch_of_the_constraints():
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    [version] = re.findall(r"(?m)^torch==(\S+)$", constraints)
    page = (DOCS / "use" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"torch==(\S+)", page)) == {version}


def test_the_pictures_of_the_readme_need_no_other_file():
    pictures = re.findall(r"docs/pictures/[\w-]+\.svg", README)
    assert len(pictures) >= 3
    for name in pictures:
        picture = (REPOSITORY / name).read_text(encoding="utf-8")
        ElementTree.fromstring(picture)
        assert not re.search(r"<script|@import|@font-face|<image|url\((?!#)|href=.(?!#)", picture)
        assert len(picture) < 400_000


def test_the_index_lists_every_page():
    folder = REPOSITORY / "docs"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [
        str(page.relative_to(folder).as_posix())
        for page in folder.rglob("*.md")
        if page.name != "README.md"
    ]
    assert [page for page in pages if index.count(f"]({page})") != 1] == []


def test_the_index_of_the_log_names_every_entry():
    log = (REPOSITORY / "benchmarks" / "LOG.md").read_text(encoding="utf-8")
    index, *entries = re.split(r"(?m)^## ", log)[1:]
    titles = [entry.partition("\n")[0] for entry in entries]
    anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(anchors) > 90
    assert [anchor for anchor in anchors if index.count(f"](#{anchor})") != 1] == []
