"""Every architecture through the same commands: train, resume, sample, beam, predict, visualize.

Tests `model.depths`, too.
"""

import json
import shutil
from pathlib import Path

import pytest

import charrnn
from charrnn.config.architectures import DEPTH_DESCRIPTIONS
from charrnn.model.cell_types import CELLS

TEXT = "".join(
    f'the {word} said "{word} {word}" to me\n    and left\n'
    for word in ("lamp", "stone", "river", "owl") * 40
)

pytestmark = pytest.mark.trained
USUAL = ("lstm", "gru", "rnn")
"""Cell types that every run of the tests trains, and `-m slow` the others and other depths."""
ARCHITECTURES = [
    *((cell, "stacked") for cell in USUAL),
    # The decay of an rglru starts near 1: it learns nothing in 20 steps.
    *(
        pytest.param(cell, "stacked", marks=pytest.mark.slow)
        for cell in CELLS
        if cell not in (*USUAL, "rglru")
    ),
    *(
        pytest.param("lstm", depth, marks=pytest.mark.slow)
        for depth in list(DEPTH_DESCRIPTIONS)[1:]
    ),
    pytest.param("mlstm", "dilated", marks=pytest.mark.thorough),
    pytest.param("gru", "grid", marks=pytest.mark.thorough),
    pytest.param("lstm --set initial_state=learned", "dilated", marks=pytest.mark.thorough),
    ("rnn --set initial_state=learned", "stacked"),
]


@pytest.mark.parametrize("cell, depth", ARCHITECTURES)
def test_it_trains_resumes_writes_and_shows_its_cells(cell, depth, command, monkeypatch):
    monkeypatch.setattr(
        "charrnn.model.reading.WARM_UP", 16
    )  # else more is read to warm up than to measure
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    Path("shown.txt").write_text(TEXT[:500], encoding="utf-8")
    model = f"--type {cell} --set depth={depth} --layers 3 --hidden-size 16 --set embedding_size=8"
    # Six characters per step: no multiple of 4, the largest dilation.
    sizes = "--set batch_size=16 --set bptt_length=6 --split 98/2 --set evaluate_every=12 --quiet"
    assert command(f"train text.txt {model} {sizes} --steps 20 --out whole").code == 0
    losses = [json.loads(line) for line in Path("whole/metrics.jsonl").read_text().splitlines()]
    nats = [line["train_nats"] for line in losses if line["event"] == "step"]
    assert sum(nats[-5:]) / 5 < 0.95 * nats[0]
    # As if the run had been stopped after step 12: in a copy, its later step and what points to it
    # are taken away.
    parts = Path(shutil.copytree("whole", "parts"))
    for pointer in ("latest", "best"):
        (parts / pointer).write_text("step-00000012\n")
    shutil.rmtree(parts / "step-00000020")
    assert command("train --resume parts --quiet").code == 0
    for name in ("model.safetensors", "training.safetensors"):
        assert (parts / "step-00000020" / name).read_bytes() == (
            Path("whole/step-00000020") / name
        ).read_bytes()
    ran = command("sample whole --length 50")
    assert ran.code == 0 and 50 <= len(ran.out) <= 51
    loaded = charrnn.load("whole")
    assert len(loaded.beam(width=4, length=10)[0].text) == 10
    assert sum(
        p.probability for p in loaded.predict("the ", top=len(loaded.vocab))
    ) == pytest.approx(1)
    ran = command("visualize whole --text shown.txt --json")
    assert ran.code == 0
    scores = json.loads(ran.out)["findings"]
    assert {"quote", "line-position"} <= {score["detector"] for score in scores}
    ran = command("visualize whole --text shown.txt --cell 2:15 --chars 80")
    assert ran.code == 0
    assert "cell 2:15" in ran.out
