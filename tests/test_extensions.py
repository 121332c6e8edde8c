"""Rooms: commands, analyses and methods that entry points add to charrnn."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_packages import install
from fixture_types import Process

import charrnn
from charrnn.api import Model
from charrnn.errors import install_command
from charrnn.hooks import extensions
from charrnn.hooks.extensions import GROUP, PackageFunction, commands, find_function

ROOM = """
from charrnn.cli.analyses import Analysis, Option, Shown
from charrnn.hooks.extensions import CommandEntry, ModelMethod, PackageFunction

COMMANDS = (CommandEntry(name="greet", summary="Print a greeting.", function="a_room:greet"),)

def greet(name: str = "reader") -> None:
    print("hello", name)

def num_units(model):
    "Return the units of a layer."
    return model.config.hidden_size

EXTENSIONS = (
    ModelMethod(name="num_units", function=num_units),
    PackageFunction(name="greeting", function=greet),
    Analysis(
        option=Option(flag="--length", help="Show the length of the text.", kind=bool),
        measure=lambda subject: len(subject.text),
        show=lambda subject, length: Shown("Length", [str(length)], {"length": length}),
    ),
)
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package that offers a room, until the test ends."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(code: str = ROOM) -> None:
        install(tmp_path, "a-room", f"[{GROUP}]\na_room = a_room\n", a_room=code)
        forget()

    yield call
    sys.modules.pop("a_room", None)
    monkeypatch.undo()
    forget()


def forget() -> None:
    from charrnn.cli.visualize import analyses

    extensions.LEFT_OUT.clear()
    for function in (extensions._rooms, extensions._declared, extensions.commands, analyses):
        function.cache_clear()


def test_a_flag_of_two_analyses_is_refused(
    offer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    from charrnn.cli.app import run

    offer(ROOM.replace("--length", "--gates"))
    assert run(["visualize", "--help"]) == 2
    assert "Two analyses declare --gates." in capsys.readouterr().err


def test_a_room_adds_what_its_extensions_say(
    offer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    from charrnn.cli.app import run

    offer()
    assert run(["--help"]) == 0 and "greet       Print a greeting." in capsys.readouterr().out
    assert run(["greet", "--name", "you"]) == 0 and capsys.readouterr().out == "hello you\n"
    assert (
        run(["visualize", "--help"]) == 0
        and "Show the length of the text." in capsys.readouterr().out
    )
    assert run(["visualize", "--length", "--gates"]) == 2
    assert "--gates and --length are different pictures" in capsys.readouterr().err
    assert charrnn.greeting is find_function(PackageFunction, "greeting")
    model = object.__new__(Model)
    model.config = charrnn.Config(hidden_size=7)
    assert model.num_units() == 7 and model.num_units.__doc__ == "Return the units of a layer."


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no room')", "failed in .*line 1: RuntimeError: no room"),
        ("COMMANDS = 3", "is left out: its COMMANDS is no tuple of CommandEntry"),
        (
            ROOM.replace('"greet", summary', '"explore", summary'),
            "offers a second command 'explore', which",
        ),
    ],
)
def test_a_room_that_cannot_be_used_is_named_and_breaks_no_command(
    offer: Callable[..., None], capsys: pytest.CaptureFixture[str], code: str, reason: str
) -> None:
    from charrnn.cli.app import run

    offer(code)
    assert run(["--help"]) == 0 and run(["greet"]) == 2 and "explore" in commands()
    named = f"(?m)^warning: The extension 'a_room' of the package a-room 1.0 {reason}"
    assert len(re.findall(named, capsys.readouterr().err)) == 2


def test_the_rooms_of_an_installation_under_the_former_name_count_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from charrnn.cli.app import run

    name = (
        (Path(__file__).parent.parent / "pyproject.toml")
        .read_text("utf-8")
        .split('name = "')[1]
        .split('"')[0]
    )
    for package in {name, "charrnn"}:
        folder = install(tmp_path / package, package, f"[{GROUP}]\napps = charrnn.formats\n")
        monkeypatch.syspath_prepend(str(folder))
    forget()
    assert (
        run(["--help"]) == 0
        and "warning" not in capsys.readouterr().err
        and name in install_command()
    )
    assert [(plugin.is_own, room.__name__) for plugin, room in extensions._rooms()].count(
        (True, "charrnn.formats")
    ) == 1
    monkeypatch.undo()
    forget()


def test_unknown_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        charrnn.tarin  # noqa: B018
    model = object.__new__(Model)
    for name in ("gtaes", "_repr_png_", "__deepcopy__"):
        with pytest.raises(AttributeError, match=name):
            getattr(model, name)


def test_torch_and_the_rooms_are_imported_at_their_first_use(
    tmp_path: Path, process: Process
) -> None:
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
