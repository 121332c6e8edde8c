"""Cells of other packages: found by name, trained, resumed, sampled and shown; and every way they can be unusable."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_packages import install

from charrnn.architectures import CELL_GROUP
from charrnn.config import Config
from charrnn.errors import UsageError
from charrnn.model.cells import find_cell
from charrnn.training.recipe import choose_sizes

LEAKY = '''
from charrnn.model.cells import Cell

print("imported leaky_cells")


class Leaky(Cell):
    """h = h + a * (tanh(W x + U h) - h), a = sigmoid(rate)."""

    gates = ("a",)

    @staticmethod
    def extras(hidden_size):
        return {"rate": ((hidden_size,), "zeros")}

    @staticmethod
    def step(ops, x, product, state, p):
        (h,) = state
        return (ops.clamp(h + ops.sigmoid(p["rate"] + 0 * h) * (ops.tanh(x + product("hh", h)) - h)),)
'''
TEXT = 'the lamp said "lamp lamp" to me\n    and left\n' * 60

Process = Callable[..., subprocess.CompletedProcess[bytes]]


def offer(site: Path, entries: dict[str, str], code: str = LEAKY, *, package: str = "leaky-cells") -> Path:
    """Install a package with one module, named after it, and entry points: name to attribute."""
    module = package.replace("-", "_")
    lines = "".join(f"{name} = {module}:{attribute}\n" for name, attribute in entries.items())
    return install(site, package, f"[{CELL_GROUP}]\n{lines}", **{module: code})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages that this process finds."""
    monkeypatch.syspath_prepend(str(tmp_path))
    find_cell.cache_clear()
    yield tmp_path
    find_cell.cache_clear()
    sys.modules.pop("leaky_cells", None)


@pytest.mark.trained
@pytest.mark.slow
def test_a_cell_of_another_package_is_trained_resumed_sampled_and_shown(tmp_path: Path, process: Process) -> None:
    site = offer(tmp_path / "site", {"leaky": "Leaky"})
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))

    def charrnn(*arguments: object) -> str:
        ran = process("-m", "charrnn", *arguments, PYTHONPATH=path)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode()

    sizes = ["--hidden-size", 12, "--layers", 2, "--set", "num_lanes=4", "--set", "bptt_length=16", "--quiet"]
    charrnn("train", "text.txt", "--cell", "leaky", "--steps", 12, "--out", "run", *sizes)
    charrnn("train", "--resume", "run", "--steps", 16, "--quiet")
    assert "cell: leaky" in (tmp_path / "run" / "config.yaml").read_text()

    for precision in ("fp32", "int8"):
        # Long enough for compiled code, where there is any.
        options = ("--length", 3000, "--seed", 3, "--precision", precision)
        first, second = (charrnn("sample", "run", *options) for _ in range(2))
        assert first == second and len(first) > 3000

    (tmp_path / "shown.txt").write_text(TEXT[:1500], encoding="utf-8")
    scores = charrnn("visualize", "run", "--text", "shown.txt", "--json")
    assert "quote" in {score["detector"] for score in json.loads(scores[scores.index("[") :])}
    assert "cell 1:3" in charrnn("visualize", "run", "--cell", "1:3", "--chars", 60)
    assert "layer 0: a" in charrnn("visualize", "run", "--gates", "--text", "shown.txt")

    # The same run where the package is not installed.
    for command in (["sample", "run"], ["train", "--resume", "run"]):
        ran = process("-m", "charrnn", *command)
        assert (ran.returncode, ran.stderr.decode()) == (
            4,
            "error: The cell leaky of this run is not part of charrnn, and no installed package offers it.\n"
            "       Install the package that does.\n",
        )


def test_a_name_is_looked_up_without_importing_anything(site: Path) -> None:
    offer(site, {"leaky": "Leaky", "other": "Nothing"}, "raise RuntimeError")
    assert Config(cell="leaky").cell == "leaky"
    with pytest.raises(UsageError, match=r"`cell` is leeky; .*, or a cell that an installed package .* leaky") as error:
        Config(cell="leeky")
    assert "Did you mean leaky?" in str(error.value) and "unitary" in str(error.value)


BROKEN = [
    ("x = 1", "failed: AttributeError: .*Leaky"),
    ("import no_such_module_anywhere", "failed in .*, line 1: ModuleNotFoundError: .*no_such_module"),
    ("class Leaky: ...", "is no subclass of charrnn.model.cells.Cell"),
    ("Leaky = 3", "is no subclass of charrnn.model.cells.Cell"),
    (f"{LEAKY}    shows = 'c'\n", "shows 'c'; it must be h, tanh"),
]


@pytest.mark.parametrize(("code", "problem"), BROKEN)
def test_a_broken_package_is_named(code: str, problem: str, site: Path) -> None:
    offer(site, {"leaky": "Leaky"}, code)
    with pytest.raises(UsageError, match=rf"^The cell 'leaky' of the package leaky-cells 1\.0 {problem}"):
        find_cell("leaky")


def test_two_packages_with_one_name_are_named(site: Path) -> None:
    for package in ("leaky-cells", "other-cells"):
        offer(site, {"leaky": "Leaky"}, package=package)
    with pytest.raises(UsageError, match=r"^The cell 'leaky' is offered twice: by the package (leaky|other)-cells"):
        find_cell("leaky")


def test_a_package_cannot_replace_a_built_in_cell(site: Path) -> None:
    offer(site, {"lstm": "Leaky"})
    assert find_cell("lstm").__module__ == "charrnn.model.cells"
    with pytest.raises(UsageError, match=r"^The cell 'lstm' is offered twice: by charrnn and by the package leaky"):
        choose_sizes(Config(cell="lstm"), 10_000)
    assert choose_sizes(Config(cell="gru"), 10_000).cell == "gru"


def test_a_cell_that_no_package_provides_is_refused() -> None:
    with pytest.raises(UsageError, match="No installed package provides the cell 'leaky'"):
        find_cell("leaky")


def test_help_searches_no_packages(process: Process) -> None:
    code = """
import charrnn.plugins
charrnn.plugins._scan = None
import charrnn.cli.app
for line in (["train", "--help"], ["--help"]):
    assert charrnn.cli.app.run(line) == 0
"""
    ran = process("-c", code)
    assert ran.returncode == 0 and ran.stderr == b"" and b"unitary" in ran.stdout and b"highway" in ran.stdout
