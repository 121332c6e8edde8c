"""Cells of other packages: found by name, trained, resumed, sampled and shown; and every way they
can be unusable."""

import sys

import pytest
from fake_packages import install_names

from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.hooks import manager
from charrnn.model.cell_type_registry import cell_type, validate_cell_type
from charrnn.model.cell_types import CELLS
from charrnn.model.ensemble import can_join
from charrnn.training.recipe import choose_sizes

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


def offer(site, entries, code=LEAKY, *, package="leaky-cells"):
    """Install a package with one module, named after it, and entry points: name to attribute."""
    module = package.replace("-", "_")
    places = {name: f"{module}:{attribute}" for name, attribute in entries.items()}
    return install_names(site, package, "cell_types", places, **{module: code})


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


@pytest.mark.trained
def test_a_run_needs_the_package_of_its_cell(tmp_path, command, monkeypatch):
    site = offer(tmp_path / "site", {"leaky": "Leaky"})
    monkeypatch.syspath_prepend(str(site))
    cell_type.cache_clear()
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    sizes = [
        "--hidden-size",
        12,
        "--layers",
        2,
        "--set",
        "batch_size=4",
        "--set",
        "bptt_length=16",
        "--quiet",
    ]

    def charrnn(*arguments):
        ran = command(*arguments)
        assert ran.code == 0, ran.err
        return ran.out

    charrnn("train", "text.txt", "--cell", "leaky", "--steps", 4, "--out", "run", *sizes)
    charrnn("train", "--resume", "run", "--steps", 6, "--quiet")
    assert "cell: leaky" in (tmp_path / "run" / "config.yaml").read_text()
    for precision in ("fp32", "int8"):
        options = ("--length", 300, "--seed", 3, "--precision", precision)
        first = charrnn("sample", "run", *options)
        assert len(first) > 300
        assert charrnn("sample", "run", *options) == first
    assert "layer 0: a" in charrnn("visualize", "run", "--gates", "--text", "text.txt")

    sys.path.remove(str(site))
    manager.forget()
    cell_type.cache_clear()
    sys.modules.pop("leaky_cells")
    for arguments in (["sample", "run"], ["train", "--resume", "run"]):
        ran = command(*arguments)
        assert (ran.code, ran.err) == (
            4,
            (
                "error: The cell leaky of this run is not part of charrnn, and no installed package"
                " offers it.\n       Install the package that does.\n"
            ),
        )


def test_a_name_is_looked_up_without_importing_anything(site):
    offer(site, {"leaky": "Leaky", "other": "Nothing"}, "raise RuntimeError")
    assert Config(cell="leaky").cell == "leaky"
    with pytest.raises(
        UsageError, match=r"`cell` is leeky; .*, or a cell that an installed package .* leaky"
    ) as error:
        Config(cell="leeky")
    with pytest.raises(UsageError, match="No installed package provides the cell 'leeky'"):
        cell_type("leeky")
    assert "Did you mean leaky?" in str(error.value) and "unitary" in str(error.value)


PAIR = """
import numpy as np
from charrnn.model.cell_types import Cell


class Leaky(Cell):
    num_states = 2
    input_blocks = 2
    products = {"hh": 2}
    gates = ("f",)
    shows = "tanh(c)"

    @staticmethod
    def step(ops, x, product, state, extras):
        h, c = state
        f, g = ops.split(x + product("hh", h), 2)
        c = ops.clamp(ops.sigmoid(f) * c + g)
        return ops.tanh(c), c
"""
"""A cell with a memory c that breaks no rule."""
INPUT = "return ops.tanh(c), c"
CLAMP = "ops.clamp(ops.sigmoid(f) * c + g)"
PROMISES = [
    ("class Leaky(Cell)", "class Leaky", "is no subclass of charrnn.model.cell_types.Cell"),
    (
        "import numpy as np",
        "import no_such_module_anywhere",
        "failed in .*, line 2: ModuleNotFoundError: .*no_such",
    ),
    ('    shows = "tanh(c)"', "", "`shows` is 'h'; it must be tanh"),
    (
        "num_states = 2",
        "num_states = 2; units_multiple = 3",
        "`units_multiple` is 3; it must be 1, 2, 4 or 8",
    ),
    ("num_states = 2", "num_states = 0", "`num_states` is 0; it must be an integer, at least 1"),
    ('{"hh": 2}', '{"hh": 2, "ih": 1}', "`products` is .*; it must map names other than 'ih'"),
    ('{"hh": 2}', '{"hh": 2, "mh": 1}', "`products` has 'mh', with which `step` does not multiply"),
    (
        'product("hh"',
        'product("recurrent"',
        "`step` multiplies with 'recurrent', which is not in `products`",
    ),
    ('("f",)', '("f", "o")', "`step` calls `ops.sigmoid` 1 time, but `gates` has 2 names"),
    ('("f",)', '("f")', "`gates` is 'f'; it must be a tuple of strings"),
    ("input_blocks = 2", 'input_blocks = "2"', "`input_blocks` is '2'; it must be an integer"),
    (
        "num_states = 2",
        "num_states = 2; block_letters = 'f'",
        "`block_letters` is 'f'; it must be empty or have",
    ),
    (
        "num_states = 2",
        "num_states = 2; peak_rate = 0",
        "`peak_rate` is 0; it must be a float between",
    ),
    ('("f",)', "None", "`gates` is None; it must be a tuple of strings"),
    (
        INPUT,
        "return h, c\n    extras = lambda size: None",
        "`extras` returns a NoneType; it must be a dictionary",
    ),
    (
        INPUT,
        "return h, c\n    extras = lambda size: {'a': 3}",
        r"`extras` gives 'a' as 3; it must be \(shape, init",
    ),
    (
        "num_states = 2",
        "num_states = 2; forget_block = 2",
        "`forget_block` is 2; it must be None or below",
    ),
    (CLAMP, "ops.sigmoid(f) * c + g", "`step` calls `ops.clamp` 0 times"),
    (CLAMP, f"0.5 * {CLAMP}", "`step` must return the result"),
    (
        INPUT,
        "return ops.tanh(c)",
        "`step` returns a ndarray. As `num_states` is 2, it must return a tuple of 2 arrays",
    ),
    (INPUT, "return ops.tanh(x), c", r"`step` returns a tuple of arrays \[\(3, 16\), \(3, 8\)\]"),
    (
        INPUT,
        "return h, c\n    extras = lambda size: {'a': ((size,), 'ones')}",
        "`extras` gives .*'ones'",
    ),
    (
        INPUT,
        "return h, c\n    value = staticmethod(lambda ops, state: state[1])",
        "`shows` is tanh.*Leave `value` out",
    ),
]
"""A change to `PAIR`, and what is then said of it."""
HIGH = """
from charrnn.model.cell_types import Cell


class Leaky(Cell):
    @staticmethod
    def step(ops, x, product, state, extras):
        return (ops.clamp(ops.relu(x + product("hh", state[0]))),)
"""


@pytest.mark.parametrize(("before", "after", "problem"), PROMISES)
def test_a_cell_that_breaks_a_rule_is_refused(before, after, problem, site):
    assert PAIR.count(before) == 1
    offer(site, {"leaky": "Leaky"}, PAIR.replace(before, after))
    with pytest.raises(
        UsageError, match=rf"(?s)^The cell 'leaky' of the package leaky-cells 1\.0:? {problem}"
    ) as error:
        cell_type("leaky")
    assert str(error.value).count("\n") <= 2


@pytest.mark.parametrize(
    ("before", "after"), [("input_blocks = 2", "input_blocks = 1"), ('{"hh": 2}', '{"hh": 1}')]
)
def test_a_cell_whose_blocks_do_not_fit_is_refused_with_line_and_shapes(before, after, site):
    offer(site, {"leaky": "Leaky"}, PAIR.replace(before, after))
    with pytest.raises(UsageError) as error:
        cell_type("leaky")
    first, second = str(error.value).splitlines()
    assert (
        first.startswith("The cell 'leaky' of the package leaky-cells 1.0 failed in")
        and "line 16: ValueError" in first
    )
    assert (
        "B is 3, H is 8, x is (3, " in second
        and "product('hh', h) is (3, " in second
        and "`input_blocks`" in second
    )


def test_an_unbounded_cell_must_show_tanh_of_its_state(site):
    offer(site, {"leaky": "Leaky"}, HIGH)
    with pytest.raises(
        UsageError, match=r"1\.0: its values must stay in \[-1, 1\], and large inputs give 1\d"
    ):
        cell_type("leaky")
    sys.modules.pop("leaky_cells")
    shown = HIGH.replace("(Cell):\n", '(Cell):\n    shows = "tanh(h)"\n')
    (site / "leaky_cells.py").write_text(shown)
    assert cell_type("leaky").shows == "tanh(h)" and not can_join(Config(cell="leaky"), 2, 8)
    cell_type.cache_clear()
    sys.modules.pop("leaky_cells")
    (site / "leaky_cells.py").write_text(
        f"{shown}    value = staticmethod(lambda ops, state: state[0])\n"
    )
    with pytest.raises(
        UsageError, match=r"something else than 0\.5 for a unit that is clamped there\.\nLeave"
    ):
        cell_type("leaky")


@pytest.mark.parametrize("name", CELLS)
def test_the_built_in_cells_break_no_rule(name):
    validate_cell_type(
        f"The cell {name}", CELLS[name], lambda function, *arguments: function(*arguments)
    )


def test_a_package_cannot_replace_a_built_in_cell(site):
    offer(site, {"lstm": "Leaky"})
    assert cell_type("lstm").__module__ == "charrnn.model.cell_types"
    with pytest.raises(
        UsageError, match=r"^The cell 'lstm' is offered twice: by charrnn and by the package leaky"
    ):
        choose_sizes(Config(cell="lstm"), 10_000)
    assert choose_sizes(Config(cell="gru"), 10_000).cell == "gru"
