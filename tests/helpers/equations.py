"""The sections of docs/understand/equations.md about cell types and depths, and their equations as Python."""

import re

from environment import REPOSITORY

SECTION = re.compile(
    r"^### [^\n]*`--(?:type |set depth=)(\w+)`\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL
)
"""A section: the value of the option, and the text."""
BLOCK = re.compile(r"^(?:```|~~~)\n(.*?)^(?:```|~~~)$", re.MULTILINE | re.DOTALL)
"""A block of equations."""
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


def equations_of(name: str) -> str:
    """Return the equations of a cell type as statements of Python; `h_before` is the h of the
    character before."""
    assert name in SECTIONS, (
        f"docs/understand/equations.md has no section with the equations of {name}"
    )
    equations = "".join(BLOCK.findall(SECTIONS[name]))
    for shown, written in SPELLINGS.items():
        equations = equations.replace(shown, written)
    equations = re.sub(r"\|(\w+)\|", r"abs(\1)", equations)
    # A matrix, whose name begins with a capital, is multiplied by what stands beside it.
    return re.sub(r"\b([A-Z]\w*) (?=[\w(])", r"\1 @ ", equations)
