"""Fill the template of a self-contained HTML page: its style sheet, its scripts and its data.

All pages share the style sheet `page.css` and the script `page.js`.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from charrnn.views.theme import NUM_SHADES, shade_rules

SHARED_STYLE = Path(__file__).with_name("page.css")
"""The style sheet that all pages share, without the rules of the shades."""
SHARED_SCRIPT = Path(__file__).with_name("page.js")
"""The script that all pages share, and that runs before their own scripts."""


def fill_page(template: Path, *, fields: Mapping[str, str], scripts: Sequence[Path] = ()) -> str:
    """Return a template with the shared style sheet, the shared script and then these `scripts`,
    and each of the `fields` in place of its name in {{}}.

    A template may name the hashes of its style sheet and of its scripts in its content security
    policy, as STYLE_HASH and SCRIPT_HASHES.
    """
    style = f"{_read(SHARED_STYLE)}{shade_rules()}"
    page = _read(template).replace("{{SHARED_STYLE}}", style)
    shared_script = _read(SHARED_SCRIPT).replace("{{NUM_SHADES}}", str(NUM_SHADES))
    programs = [shared_script, *map(_read, scripts)]
    replacements = {
        "STYLE_HASH": _hash(page.partition("<style>")[2].partition("</style>")[0]),
        "SCRIPT_HASHES": " ".join(map(_hash, programs)),
        "SCRIPTS": "\n".join(f"<script>{program}</script>" for program in programs),
        **fields,
    }
    # All placeholders are replaced in one pass, so that the inserted texts are not changed.
    return re.sub(r"\{\{(\w+)\}\}", lambda placeholder: replacements[placeholder[1]], page)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source expression of a content security policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
