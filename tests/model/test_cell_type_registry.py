"""Cells of other packages: found by name, trained, resumed, sampled and shown; and every way they
can be unusable."""

import sys

import pytest
from fake_packages import install_names

from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.hooks import manager
from charrnn.model.cell_type_registry import cell_type

LEAKY = '''
from charrnn.model.cell_types import Cell

print("imported leaky_cells")


class Leaky(Cell):
    """h = h + a * (tanh(W x + U h) - h), a = sigmoid(rate)."""

    gates = ("a",)

    @staticmethod
    def extras(hidden_size):
        return {"rate": ((hidden_size,), "zeros")}

    @staticmethod
    def step(ops, x, product, state, extras):
        (h,) = state
        return (ops.clamp(h + ops.sigmoid(extras["rate"] + 0 * h) * (ops.tanh(x + product("hh", h)) - h)),)
'''
TEXT = 'the lamp said "lamp lamp" to me\n    and left\n' * 60


def offer(site, entries, code=LEAKY):
    """Install a package with one module and entry points: name to attribute."""
    places = {name: f"leaky_cells:{attribute}" for name, attribute in entries.items()}
    return install_names(site, "leaky-cells", "cell_types", places, leaky_cells=code)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder for packages that this process finds."""
    monkeypatch.syspath_prepend(str(tmp_path))
    cell_type.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    manager.forget()
    cell_type.cache_clear()
    sys.modules.pop("leaky_cells", None)


@pytest.mark.slow
@pytest.mark.trained
def test_a_run_needs_the_package_of_its_cell(tmp_path, command, monkeypatch):
    site = offer(tmp_path / "site", {"leaky": "Leaky"})
    monkeypatch.syspath_prepend(str(site))
    cell_type.cache_clear()
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    sizes = "--hidden-size 12 --layers 2 --set batch_size=4 --set bptt_length=16 --quiet"

    def charrnn(line):
        ran = command(line)
        assert ran.code == 0, ran.err
        return ran.out

    charrnn(f"train text.txt --type leaky --steps 4 --out run {sizes}")
    charrnn("train --resume run --steps 6 --quiet")
    assert "cell_type: leaky" in (tmp_path / "run" / "config.yaml").read_text()
    for precision in ("fp32", "int8"):
        line = f"sample run --length 300 --seed 3 --precision {precision}"
        first = charrnn(line)
        assert len(first) > 300
        assert charrnn(line) == first
    assert "layer 0: a" in charrnn("visualize run --gates --text text.txt")

    sys.path.remove(str(site))
    manager.forget()
    cell_type.cache_clear()
    sys.modules.pop("leaky_cells")
    for line in ("sample run", "train --resume run"):
        ran = command(line)
        ran.assert_refused(4, "cell_type is leaky; it must be one of", "install the package")


def test_a_name_is_looked_up_without_importing_anything(site):
    offer(site, {"leaky": "Leaky", "other": "Nothing"}, "raise RuntimeError")
    assert Config(cell_type="leaky").cell_type == "leaky"
    with pytest.raises(UsageError, match=r"leeky.* an installed package") as error:
        Config(cell_type="leeky")
    with pytest.raises(UsageError, match="No installed package provides the cell 'leeky'"):
        cell_type("leeky")
    assert "unitary" in str(error.value)
