"""Rooms and other packages: what they add to charrnn by hooks, and what is left when they are
missing."""

import re
import sys

import pytest
from fake_packages import install

import charrnn
from charrnn.api import Model
from charrnn.hooks import manager

ROOM = """
from dataclasses import dataclass
from charrnn.cli.analyses import Analysis, Shown
from charrnn.cli.command_options import CommandOptions
from charrnn.config.options import option
from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import CommandEntry


@dataclass(frozen=True, kw_only=True)
class GreetOptions(CommandOptions):
    name: str = option("reader", "--name NAME", "Who is greeted.")


def greet(options: GreetOptions) -> None:
    print("hello", options.name)


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    length: bool = option(False, "--length", "Show the length of the text.")


@hookimpl
def commands():
    return [CommandEntry(name="greet", summary="Print a greeting.", place="a_room:greet")]


@hookimpl
def analyses():
    return [
        Analysis(
            flag="--length",
            options=LengthOptions,
            measure=lambda subject: len(subject.text),
            show=lambda subject, length: Shown("Length", [str(length)], {"length": length}),
        )
    ]
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a package that offers a room, until the test ends."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(code=ROOM):
        install(tmp_path, "a-room", f"[{manager.GROUP}]\na_room = a_room\n", a_room=code)

    yield call
    sys.modules.pop("a_room", None)
    monkeypatch.undo()
    manager.forget()


def test_a_flag_of_two_analyses_is_refused(offer, capsys):
    from charrnn.cli.app import run

    offer(ROOM.replace("--length", "--gates"))
    assert run(["visualize", "--help"]) == 2
    assert "Two analyses declare --gates." in capsys.readouterr().err


def test_a_package_adds_a_command(offer, capsys):
    from charrnn.cli.app import run

    offer()
    assert run(["--help"]) == 0
    assert "greet       Print a greeting." in capsys.readouterr().out
    assert run(["greet", "--name", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"


def test_a_package_adds_an_analysis(offer, capsys):
    from charrnn.cli.app import run

    offer()
    assert run(["visualize", "--help"]) == 0
    assert "Show the length of the text." in capsys.readouterr().out
    assert run(["visualize", "--length", "--gates"]) == 2
    assert "--gates and --length are different pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no room')", "failed in .*line 1: RuntimeError: no room"),
        (
            ROOM.replace("    return [CommandEntry", "    1 / 0 #"),
            "failed in .*line 26: ZeroDivisionError",
        ),
        (
            ROOM.replace("    return [CommandEntry", "    return 3 #"),
            "is left out: its `commands` returns no sequence",
        ),
        (ROOM.replace("def commands", "def comands"), "has a hook 'comands'; there is none"),
        (ROOM.replace("def commands()", "def commands(x)"), "has a wrong hook: .*"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_and_breaks_no_command(offer, capsys, code, reason):
    from charrnn.cli.app import run

    offer(code)
    assert run(["--help"]) == 0
    assert run(["greet"]) == 2
    named = f"(?m)^warning: The extension 'a_room' of the package a-room 1.0 {reason}"
    assert len(re.findall(named, capsys.readouterr().err)) == 2


def test_the_second_command_of_a_name_is_left_out(offer, capsys):
    from charrnn.cli.app import run

    offer(ROOM.replace('name="greet"', 'name="explore"'))
    assert run(["--help"]) == 0
    shown = capsys.readouterr()
    assert "Browse the cells" in shown.out
    assert "warning: The command 'explore' of a_room:greet is left out" in shown.err


def test_unknown_names_are_no_attributes():
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        charrnn.tarin  # noqa: B018
    model = object.__new__(Model)
    for name in ("gtaes", "_repr_png_", "__deepcopy__"):
        with pytest.raises(AttributeError, match=name):
            getattr(model, name)


def test_the_package_lists_its_public_names():
    assert {"Model", "load", "train", "sweep", "mix", "match_cells"} <= set(dir(charrnn))
    assert not {"Any", "find_spec", "import_module"} & set(dir(charrnn))


def test_every_place_that_a_room_offers_exists():
    from charrnn.hooks import specifications

    for specification in (specifications.lessons, specifications.compiled_loops):
        for extension in manager.offered_by_name(specification, "name"):
            assert extension.load() is not None


def test_torch_and_the_rooms_are_imported_at_their_first_use(tmp_path, process):
    (tmp_path / "torch.py").write_text(
        "zeros = list.__mul__"
    )  # the real one takes seconds to import
    code = (
        "import sys; from charrnn import api; print({*sys.modules} & {'charrnn.analyses.gradients',"
        " 'torch'})\nfrom charrnn.system.lazy import torch; import charrnn.analyses.gradients;"
        " before = 'torch' in sys.modules; torch.zeros([], 1); print(before, 'torch' in"
        " sys.modules)"
    )
    assert process("-c", code).stdout == b"set()\nFalse True\n"
