"""The three usual cell types have a section in docs/understand/equations.md, every other cell type and every depth a
row, and equations in its docstring. tests/model/test_cell_types.py computes the equations of the cell types."""

import inspect
import re

import pytest
from environment import REPOSITORY
from equations import BLOCK, KINDS, SECTIONS, blocks_of

pytestmark = pytest.mark.docs
ROW = re.compile(
    r"^\| `(\w+)` \| .+ \| `(\w+)` \| \[[^]]* (?:19|20)\d\d\]\(https://[^)]+\) \|$", re.MULTILINE
)
"""A row of the tables of the other cell types and of the depths: the value of `--type` or of `depth`, and the class."""
ROWS = dict(ROW.findall((REPOSITORY / "docs/understand/equations.md").read_text("utf-8")))


def test_every_kind_has_a_section_or_a_row():
    assert sorted([*SECTIONS, *ROWS]) == sorted(KINDS)
    assert {name: KINDS[name].__name__ for name in ROWS} == ROWS


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_names_its_class_and_paper_before_the_equations(name):
    reference, purpose, *_ = SECTIONS[name].strip().split("\n\n")
    assert reference.startswith(f"Class `{KINDS[name].__name__}`. ")
    assert re.search(r" (19|20)\d\d, \*[^*]+\*,\s", reference)
    assert purpose.endswith(".") and BLOCK.search(SECTIONS[name])


@pytest.mark.parametrize("name", ROWS)
def test_a_docstring_names_its_paper_and_says_what_it_changes_before_the_equations(name):
    first, purpose, *_ = inspect.getdoc(KINDS[name]).split("\n\n")
    assert re.search(r"(19|20)\d\d\b[^)]*\)\.$", first)
    assert purpose.endswith(".") and blocks_of(name)
