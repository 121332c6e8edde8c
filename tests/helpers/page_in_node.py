"""Run the programs of a model's page in node."""

import json
import shutil
import subprocess
from pathlib import Path

from environment import REPOSITORY

SCRIPT = REPOSITORY / "tests" / "formats" / "javascript" / "page_in_node.js"
NODE = shutil.which("node")


def write_in_node(page: str, cases: list, folder: Path) -> list:
    """Return what the programs of a page write in node, for each case."""
    assert NODE is not None
    (folder / "page.html").write_text(page, "utf-8")
    call = [NODE, SCRIPT, folder / "page.html"]
    given = json.dumps(cases).encode()
    found = subprocess.run(call, input=given, capture_output=True, timeout=600, check=True)
    return list(json.loads(found.stdout))
