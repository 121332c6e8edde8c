"""The equations of the cell types as Python: of docs/understand/equations.md, and of the docstrings of the classes
that have no section there. The docstrings of the depths have theirs, too."""

import inspect
import re
from textwrap import dedent

from environment import REPOSITORY

from charrnn.model.cell_types import CELLS
from charrnn.model.depths import DEPTHS

KINDS = CELLS | DEPTHS
"""The classes by the values of `--type` and of `depth`."""
SECTION = re.compile(r"^### [^\n]*`--type (\w+)`\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
"""A section: the value of `--type`, and the text."""
BLOCK = re.compile(r"^(?:```|~~~)\n(.*?)^(?:```|~~~)$", re.MULTILINE | re.DOTALL)
"""A block of equations on the page."""
BLOCK_OF_DOCSTRING = re.compile(r"^(?: {4}.*\n|\n)+", re.MULTILINE)
"""A block of equations in a docstring: lines that are indented, and empty ones between them."""
SECTIONS = dict(SECTION.findall((REPOSITORY / "docs/understand/equations.md").read_text("utf-8")))
"""The text of each section by the value of the option."""
SPELLINGS = {
    "{t-1}": "before",
    "⊙": "*",
    "·": "*",
    "^": "**",
    "√": "sqrt",
    "ᵀ": ".T",
    "⁻¹": "_inverse",
}
"""How Python writes the symbols that are not names."""


def blocks_of(name: str) -> list[str]:
    """Return the blocks of equations of a cell type or a depth: of its section, or else of its
    docstring."""
    if name in SECTIONS:
        return BLOCK.findall(SECTIONS[name])
    docstring = inspect.getdoc(KINDS[name]) or ""
    found = map(dedent, BLOCK_OF_DOCSTRING.findall(docstring + "\n"))
    return [block for block in found if block.strip()]


def equations_of(name: str) -> str:
    """Return the equations of a cell type as statements of Python; `h_before` is the h of the
    character before."""
    equations = "".join(blocks_of(name))
    assert equations, f"the docstring of the class of {name} has no equations"
    for shown, written in SPELLINGS.items():
        equations = equations.replace(shown, written)
    equations = re.sub(r"\|(\w+)\|", r"abs(\1)", equations)
    # A matrix, whose name begins with a capital, is multiplied by what stands beside it.
    return re.sub(r"\b([A-Z]\w*) (?=[\w(])", r"\1 @ ", equations)
