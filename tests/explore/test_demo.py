"""The demo: a text, the cells and the commands, at any width."""

import json

import charrnn


def test_the_demo_prints_a_text_the_cells_and_the_commands(command):
    ran = command("demo")
    assert ran.out.count('"') == 6
    assert "\x1b" not in ran.out
    assert "quote           0:97  AUC 0.994" in ran.out
    assert "charrnn visualize prose" in ran.out


def test_the_demo_shows_the_text_and_the_values_of_the_sampler(command):
    found = json.loads(command("demo --json").out)
    options = {"prime": "said Pierre.\n\n", "length": 293, "seed": 2, "temperature": 0.7}
    cell = tuple(found["cell"])
    drawn = charrnn.load("prose").stream(**options, known_words=True, cell=cell)
    assert found["characters"] == [[piece.text, piece.value] for piece in drawn]
    assert found["cells"][0]["detector"] == "quote"


def test_the_demo_needs_no_torch(process):
    code = "import sys; from charrnn.commands.app import run; run(['demo'])"
    ran = process("-c", f"{code}; print('torch' in sys.modules)")
    assert ran.stdout.endswith(b"False\n")
