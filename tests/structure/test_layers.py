"""Imports point down, and modules that need no torch do not import it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environment import REPOSITORY
from package_imports import imported_modules, parsed

import charrnn
import charrnn.training.events

PACKAGE = Path(charrnn.__file__).parent
LAYERS = (
    ({"__main__"},),
    ({"commands"},),
    ({"explore"},),
    ({"__init__"},),
    ({"api"},),
    ({"analyses"}, {"formats"}),
    ({"reports"},),
    ({"training"}, {"cli"}),
    ({"views"},),
    ({"evaluation"},),
    ({"ngrams"},),
    ({"cells"},),
    ({"model_texts"},),
    ({"trained_model"},),
    ({"generation"}, {"runs"}),
    ({"compiled"},),
    ({"model"},),
    ({"text"}, {"distributed"}),
    ({"config"}, {"detectors"}, {"statistics"}),
    ({"hooks"},),
    ({"system"},),
    ({"errors"}, {"version"}),
)
"""From the top. A part may import itself and every lower layer, but no other part of its layer."""
PLACE = {}
for height, parts in enumerate(LAYERS):
    for part, names in enumerate(parts):
        PLACE |= dict.fromkeys(names, (height, part))


def wrong_imports(package):
    """List the imports of the package that point up or sideways, as `file:line imports module`."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        assert part in PLACE, f"{path}: give this part a place in LAYERS"
        for line, module in imported_modules(path, package):
            root, _, rest = module.partition(".")
            if root != "charrnn":
                continue
            target = PLACE.get(rest.partition(".")[0], PLACE["__init__"])
            if target[0] < PLACE[part][0] or (
                target[0] == PLACE[part][0] and target != PLACE[part]
            ):
                wrong.append(f"{path.relative_to(package)}:{line} imports {module}")
    return wrong


def test_the_layers_are_those_of_the_contributing_guide():
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    diagram = re.search(r"(?m)^```\n(commands  .*?)^```$", guide, re.DOTALL)
    # The names of a row end where at least three spaces follow; two separate them.
    rows = [set(re.split(r"\s{3,}", row)[0].split()) for row in diagram[1].splitlines()]
    layers = (set().union(*parts) - {"__main__", "__init__"} for parts in LAYERS)
    assert rows == list(filter(None, layers))


def test_no_import_points_up_or_sideways():
    assert wrong_imports(PACKAGE) == []


@pytest.mark.parametrize(
    "file, code, is_wrong",
    [
        ("model/cell_types.py", "from charrnn.text.vocab import Vocab", False),
        ("model/cell_types.py", "from charrnn import __version__", True),
        ("model/cell_types.py", "def f():\n    from charrnn.runs import reader", True),
        ("model/cell_types.py", "if TYPE_CHECKING:\n    from charrnn.runs import reader", True),
        ("model/cell_types.py", "import_module('charrnn.runs.writer')", True),
        ("cli/root.py", "load_place('charrnn.commands:COMMANDS')", True),
        ("commands/__init__.py", "PLACE = 'charrnn.explore.demo:demo'", False),
        ("model/cell_types.py", "from ..runs import reader", True),
        ("model/cell_types.py", "from .. import runs", True),
        ("cells/scores.py", "from charrnn.cells.trace import Trace", False),
        ("runs/reader.py", "from charrnn.cells.trace import Trace", True),
        ("training/loop.py", "from charrnn.model.losses import bits", False),
        ("config/settings.py", "from charrnn.text.vocab import Vocab", True),
        ("__init__.py", "from charrnn.api import load", False),
        ("__init__.py", "from charrnn.commands.app import main", True),
        ("__main__.py", "from charrnn.commands.app import main", False),
        ("api.py", "def f():\n    from charrnn.analyses import gates", False),
        ("api.py", "gates = LazyModule('charrnn.commands.train')", True),
        ("trained_model.py", "gates = LazyModule('charrnn.analyses.gates')", True),
        ("explore/demo.py", "from charrnn.commands.train import train", True),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(file, code, is_wrong, tmp_path):
    path = tmp_path / "charrnn" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    assert bool(wrong_imports(tmp_path / "charrnn")) == is_wrong


def lazy_modules(tree):
    """Yield the name, the module for mypy and the module at run time of each `LazyModule`."""
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
            typed = {
                alias.asname or alias.name: f"{node.module}.{alias.name}"
                for node in imports
                for alias in node.names
            }
            for node in block.orelse:
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    name = ast.unparse(node.targets[0])
                    yield name, typed.get(name), ast.literal_eval(node.value.args[0])


def test_a_lazy_module_is_the_one_that_mypy_sees():
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "lazy.py":
            found += lazy_modules(parsed(path))
    own = [one for one in found if one[2].startswith("charrnn.")]
    assert len(own) > 10
    assert [one for one in own if one[1] != one[2]] == []


def modules_in(part):
    return [
        f"charrnn.{part}.{path.stem}"
        for path in sorted((PACKAGE / part).glob("*.py"))
        if path.stem != "__init__"
    ]


def test_generating_and_rendering_import_no_torch():
    modules = [
        "charrnn.api",
        "charrnn.config.settings",
        "charrnn.model.stepper",
        "charrnn.detectors.registry",
    ]
    modules += [*modules_in("generation"), *modules_in("views")]
    assert {"charrnn.generation.sampling", "charrnn.views.heatmap"} <= set(modules)
    # Stops at the first module that imports torch, and prints its name.
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    if "torch" in sys.modules:
        print(name)
        break
"""
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=PACKAGE.parent, timeout=600) == b""


def test_views_alone_name_matplotlib_and_nobody_its_windows():
    naming = {}
    for path in PACKAGE.rglob("*.py"):
        for _, module in imported_modules(path, PACKAGE):
            if module.partition(".")[0] == "matplotlib":
                naming.setdefault(path.relative_to(PACKAGE).parts[0], set()).add(module)
    assert set(naming) == {"views"}
    assert "matplotlib.pyplot" not in naming["views"]


@pytest.mark.slow
def test_no_module_loads_matplotlib_when_it_is_imported():
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "__main__.py":
            modules.append(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    if "matplotlib" in sys.modules:
        print(name)
        break
"""
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=PACKAGE.parent, timeout=600) == b""


def test_every_public_name_exists_and_no_other():
    for name in charrnn.__all__:
        value = getattr(charrnn, name)
        assert (
            value is charrnn.training.events.TrainEvent
            if name == "TrainEvent"
            else value.__name__ == name
        )
        assert name in dir(charrnn)
