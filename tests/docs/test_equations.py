"""Every cell type and depth has a section in docs/understand/equations.md. tests/model/test_cell_types.py computes
the equations."""

import re

import pytest
from equations import BLOCK, SECTIONS

from charrnn.model.cell_types import CELLS
from charrnn.model.depths import DEPTHS

pytestmark = pytest.mark.docs
KINDS = CELLS | DEPTHS
"""The classes by the values of `--type` and of `depth`."""


def test_no_section_is_of_an_unknown_name():
    assert SECTIONS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_section_names_its_class_and_paper_before_the_equations(name):
    reference, purpose, *_ = SECTIONS[name].strip().split("\n\n")
    assert reference.startswith(f"Class `{KINDS[name].__name__}`. ")
    assert re.search(r" (19|20)\d\d, \*[^*]+\*,\s", reference)
    assert purpose.endswith(".") and BLOCK.search(SECTIONS[name])
