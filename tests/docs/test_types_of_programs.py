"""The programs of docs/use/python.md, and others like them, as mypy and pyright see them: they find
the wrong options."""

import re
import sys

import pytest
from environment import REPOSITORY

pytestmark = pytest.mark.docs

PAGE = (REPOSITORY / "docs" / "use" / "python.md").read_text(encoding="utf-8")
PROGRAMS = [*re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)]
OTHERS = """
from pathlib import Path

import charrnn

config = charrnn.Config(corpus="a.txt", minutes=3)
other = charrnn.Config(corpus=["a.txt", "b.txt"])
for event in charrnn.train(config):
    if event.event == "start":
        print(event.run)
    elif event.event == "step":
        print(event.train_nats)
    elif event.event == "done":
        print(event.best_nats, event.is_complete)

model = charrnn.load("a@100")
nats: float = model.logprob("Ada")
print(nats, model.logprob(["Ada", "Grace"]).shape, model.sample(prime="Ada").text)
print(charrnn.evaluate_runs([model, model], Path("a.txt"), ngrams=[3]).rows)
print(charrnn.evaluate(model, ["Ada", "Grace"]).bpc, model.study(Path("a.txt")).num_cells)
print(max(charrnn.losses_by_line([model], "Ada"), key=lambda line: line.excess).text)
print(charrnn.evaluate(model, model.held_out()).bpc)
try:
    print(charrnn.find_cells(model.trace("Ada"), "quote").scores)
except (charrnn.UsageError, charrnn.DataError, charrnn.CheckpointError) as error:
    print(error.message)
score: float = charrnn.find_cells(model.trace("Ada")).scores[0].gain
print(charrnn.Config(corpus="a.txt").corpus, score)
"""


WRONG = """
model.sample(length=10, temprature=1)
model.sample(length="ten")
model.samples(3, length=10, uniqu=True)
model.stream(cell=3)
model.beam(widht=4)
charrnn.evaluate_runs([model], part=2)
charrnn.losses_by_line([model], parts="test")
charrnn.tarin(config)
from charrnn import Modell
"""
"""Each line has an error."""


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_type_checker_finds_the_wrong_lines_and_no_error_in_programs(checker, process, tmp_path):
    pytest.importorskip(checker)
    names = []
    for number, program in enumerate([*PROGRAMS, OTHERS + WRONG]):
        (tmp_path / f"program_{number}.py").write_text(program, encoding="utf-8")
        names.append(f"program_{number}.py")
    options = {
        "mypy": ["--strict", "--cache-dir", "mypy"],
        "pyright": ["--pythonpath", sys.executable],
    }
    printed = process("-m", checker, *options[checker], *names).stdout.decode()
    found = re.findall(r"(program_\d+\.py):(\d+)[:\d]* (?:- )?error", printed)
    first = OTHERS.count("\n") + 2
    wrong = range(first, first + WRONG.count("\n") - 1)
    assert sorted(set(found)) == [(names[-1], str(line)) for line in wrong], printed
