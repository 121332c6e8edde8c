"""Other packages: what they add to charrnn by hooks.

Tests `hooks`, `hooks.foreign`, `system.lazy`, `analyses`, `formats` and `reports`,
too.
"""

import re
import sys
from pathlib import Path

import pytest
from fake_packages import install

import charrnn
import charrnn.commands.app  # whose commands the group takes
from charrnn.cli import root
from charrnn.cli.progress_bars import TerminalProgress
from charrnn.hooks import manager
from charrnn.system.progress import using

GREETING = """
from dataclasses import dataclass
from charrnn.cli.command_options import CommandOptions
from charrnn.config.options import option
from charrnn.hooks import CommandEntry, hookimpl


@dataclass(frozen=True, kw_only=True)
class GreetOptions(CommandOptions):
    name: str = option("reader", "--name NAME", "Who is greeted.")


def greet(options: GreetOptions) -> None:
    print("hello", options.name)


@hookimpl
def commands():
    return [CommandEntry(name="greet", summary="Print a greeting.", place="a_package:greet")]

"""

FORMAT = """
import json
from charrnn.hooks import ModelFormat, hookimpl


def to_hex(model, path, title=None):
    from charrnn.formats.model_folder import files_of

    files = {name: data.hex() for name, data in files_of(model, path.stem).items()}
    return json.dumps(files | {"title": title}).encode()


def from_hex(path):
    files = json.loads(path.read_text())
    del files["title"]
    return {name: bytes.fromhex(data) for name, data in files.items()}


@hookimpl
def formats():
    content = "a model in digits"
    return [ModelFormat(".hex", content, write=to_hex, read=from_hex, has_title=True)]
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a package that offers a command, until the test ends."""
    monkeypatch.syspath_prepend(str(tmp_path))
    root._load.cache_clear()  # with the commands of earlier tests and their help

    def call(code=GREETING):
        install(
            tmp_path, "a-package", f"[{manager.GROUP}]\na_package = a_package\n", a_package=code
        )

    yield call
    sys.modules.pop("a_package", None)
    monkeypatch.undo()
    manager.forget()
    root._load.cache_clear()  # by the place of a command, which another test fills anew


def test_a_package_adds_a_command(offer, capsys):
    from charrnn.commands.app import run

    offer()
    assert run(["--help"]) == 0
    assert "greet      Print a greeting." in capsys.readouterr().out
    assert run(["greet", "--name", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"


def test_an_error_in_the_code_of_a_package_names_it(offer, alphabet_run, capsys):
    from charrnn.commands.app import run

    offer(FORMAT.replace("    from charrnn", "    1 / 0; from charrnn"))
    assert run(["export", str(alphabet_run), "a.hex"]) == 1
    shown = capsys.readouterr().err
    package = "of the package a-package 1.0"
    assert package in shown and "unexpected ZeroDivisionError: division by zero" in shown


def test_a_package_adds_a_format(offer, command, alphabet_run):
    offer(FORMAT)
    assert "or .hex (a model in digits)" in " ".join(command("export --help").out.split())
    assert command("export", alphabet_run, "a.hex", "--title", "ABC").code == 0
    model = charrnn.load("a.hex")
    assert (model.name, model.path) == ("a", None)
    assert model.sample(seed=1).text == charrnn.load(alphabet_run).sample(seed=1).text
    assert command("sample a.hex --seed 1 --length 9").code == 0
    command("train --resume a.hex").assert_refused(4, "--init-from a.hex")

    Path("b.hex").write_text('{"title": null}')
    command("sample b.hex").assert_refused(4, "b.hex contains no model: it has no manifest.json")


@pytest.mark.parametrize(
    "code, reason",
    [
        ("raise RuntimeError('no time')", "failed in .*line 1: RuntimeError: no time"),
        (
            GREETING.replace("    return [CommandEntry", "    1 / 0 #"),
            "failed in .*line 19: ZeroDivisionError",
        ),
        (
            GREETING.replace("    return [CommandEntry", "    return 3 #"),
            "failed: TypeError: 'int' object is not iterable",
        ),
        ("raise BaseException('no time')", "failed in .*line 1: BaseException: no time"),
        ("raise ValueError('x' * 100_000)", "failed in .*line 1: ValueError: x{499}…"),
        (
            "import charrnn.hooks\n@charrnn.hooks.hookimpl\ndef detectors(): return {None: 'a:b'}",
            r"failed: TypeError: detectors\(\) returns None, which is no str",
        ),
        (
            "import charrnn.hooks\nclass D(dict):\n    def items(self): 1 / 0\n"
            "@charrnn.hooks.hookimpl\ndef detectors(): return D()",
            "failed in .*line 3: ZeroDivisionError",
        ),
        (
            GREETING.replace("def commands", "def comands"),
            r"failed in .*line 1\d: TypeError: there is no hook 'comands'",
        ),
        (
            GREETING.replace("def commands()", "def commands(x)"),
            r"failed: TypeError: commands\(\) missing 1 required positional argument",
        ),
        (
            GREETING.replace("    return [CommandEntry", "    return ['greet'] #"),
            r"failed: TypeError: commands\(\) returns 'greet', which is no CommandEntry",
        ),
        (
            GREETING.replace('name="greet"', "name=3"),
            "failed in .*line 19: TypeError: name of CommandEntry is 3, not str",
        ),
        (
            "import sys\nclass M(type(sys)):\n    def __getattr__(self, name): 1 / 0\n"
            "sys.modules[__name__].__class__ = M",
            "failed in .*line 3: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_named_and_breaks_no_command(offer, capsys, code, reason):
    from charrnn.commands.app import run

    offer(code)
    named = f"The extension 'a_package' of the package a-package 1.0 {reason}"
    with using(TerminalProgress()):
        manager.offered_names("detectors")
    assert run(["greet"]) == 2
    shown = capsys.readouterr().err
    assert len(re.findall(f"(?m)^warning: {named}", shown)) == 1
    assert "\nerror: No such command 'greet'." in shown


def test_the_package_lists_its_public_names():
    assert {"Model", "load", "train"} <= set(dir(charrnn))
    assert not {"Any", "find_spec", "import_module"} & set(dir(charrnn))


def test_torch_and_the_analyses_are_imported_at_their_first_use(tmp_path, process):
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
