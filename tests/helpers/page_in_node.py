"""Run the programs of a model's page, and its module, in node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from environment import REPOSITORY

SCRIPT = REPOSITORY / "tests" / "formats" / "javascript" / "page_in_node.js"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node on this machine")


def write_in_node(page: str, cases: list, folder: Path) -> list:
    """Return what the programs of a page write in node, for each case."""
    assert NODE is not None
    (folder / "page.html").write_text(page, "utf-8")
    call = [NODE, SCRIPT, folder / "page.html"]
    given = json.dumps(cases).encode()
    found = subprocess.run(call, input=given, capture_output=True, timeout=600, check=True)
    return list(json.loads(found.stdout))


def sample_in_node(module: str, cases: list, folder: Path) -> list:
    """Return what a module samples in node for each case, which has options of the module: a text, a
    list of texts, or the name and the message of an error. A seed of digits is read as a BigInt."""
    assert NODE is not None
    (folder / "model.mjs").write_text(module, "utf-8")
    program = f"""import {{ sample }} from "./model.mjs";
function answer(given) {{
  const isDigits = /^[0-9]+$/.test(given && given.seed);
  try {{
    return sample(isDigits ? {{...given, seed: BigInt(given.seed)}} : given);
  }} catch (error) {{
    return {{name: error.name, message: error.message}};
  }}
}}
process.stdout.write(JSON.stringify({json.dumps(cases)}.map(answer)));"""
    (folder / "program.mjs").write_text(program, "utf-8")
    call = [NODE, folder / "program.mjs"]
    return list(
        json.loads(subprocess.run(call, capture_output=True, timeout=600, check=True).stdout)
    )
