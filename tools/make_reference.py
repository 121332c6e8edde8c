"""Write docs/look-up/reference.md from the command line and the registries:
`python tools/make_reference.py`.

The page depends on the code alone: not on the terminal, the environment or the packages that are
installed.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

import typer
import typer.main

import charrnn.config.settings
import charrnn.config.settings_file
from charrnn.cli.option_rules import RULES, as_typed
from charrnn.commands.app import app
from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.config.architectures import (
    CELL_DESCRIPTIONS,
    DEPTH_DESCRIPTIONS,
    OPTIMIZER_DESCRIPTIONS,
)
from charrnn.config.options import RANGE, options_of
from charrnn.config.settings import FIELD_NAMES, Config
from charrnn.errors import CharRNNError
from charrnn.generation.sample_options import SampleOptions, SearchOptions

PAGE = Path(__file__).parents[1] / "docs" / "look-up" / "reference.md"
"""The page that is written."""
WIDTH = 118
"""Characters of a line of the page at most."""
INTRODUCTION = """# Reference

This page lists every command, option and setting, and every name that they take. It is written from the code by `python
tools/make_reference.py`, and a test compares the two. The [glossary](glossary.md) defines the terms, and the page that
is named beside a command explains it.
"""
"""The beginning of the page."""
COMMANDS = """## Commands

`charrnn COMMAND --help` shows more about each command.

A *run* is a folder that `train` makes. If you name no run, a command uses the newest one in `checkpoints/`, in the
current folder or in a folder there, and prints its name on stderr. The [detectors](../use/visualize.md#cells-and-detectors), which
`--detector` takes, have a section of their own.

Some arguments and options belong to many commands. Most commands take `[RUN]`, all but `explore` take
`--json`, and all take the other two:
"""
"""The introduction of the commands."""
EXPLAINED = {
    "train": "../use/your-text.md",
    "sample": "../use/generation.md",
    "visualize": "../use/visualize.md",
    "explore": "../use/visualize.md#explore",
    "evaluate": "../use/evaluation.md",
    "runs": "#run-folders",
    "export": "../use/export.md",
    "corpora": "../use/your-text.md#texts-by-name",
    "predict": "../understand/cells.md#why-this-character",
}
"""The page that explains a command."""
FIELDS = {option.name for option in options_of(Config)}
"""Settings with an option of `train`."""
COMMON = {"run", "json", "quiet", "debug"}
"""Parameters that several commands share: described once where their text is that of `explore` or
`runs`."""
SETTINGS = """## Settings

A setting decides how a model is trained, for example `learning_rate` or `hidden_size`. Settings are the fields of `Config` in
Python, of `config.yaml` in a run, and of recipes. On the command line of `train`, `--set FIELD=VALUE` gives a setting its
value, as in `--set learning_rate=4e-3`. The usual settings also have an option of their own, which the list names.

- If a setting is given in several places, a flag comes first, then the environment variable `CHARRNN_FIELD` (such as
  `CHARRNN_HIDDEN_SIZE`), then `--recipe`, and then the default. `charrnn train --show-config` prints every value with its
  source.
- What is `auto` is chosen by [the recipe](../understand/recipe.md).
- If you give neither minutes nor epochs nor steps, a run takes three minutes, or less if the text is so short that
  the model would learn it by heart.
"""
"""The introduction of the settings."""

RUN_FOLDERS = """## Run folders

Each new training makes a folder, which is called a *run* ([its files](formats.md#run-folders), [what is
guaranteed](reliability.md)):

```
checkpoints/shakespeare-001/
  config.yaml      every setting: enough to train it again
  vocab.json       the alphabet, in id order
  metrics.jsonl    one line per step and per validation, as train --json prints
  samples.txt      samples that were generated during training
  latest, best     names of checkpoints
  step-00002472/   a checkpoint: model.safetensors, training.safetensors, training.json,
                   config.yaml, vocab.json, manifest.json (SHA-256 of each)
```

- `charrnn train` makes the next free folder in `checkpoints/`. `--out DIR` names another folder.
- Commands that read a run take its path, or its name in `checkpoints/`. A command that is given none takes the newest.
  `charrnn runs` lists them with the date of the last save and the size of the folder, and marks the best of each text.
- At its end, a training prints the command that trains [the same
  weights](../understand/recipe.md#what-makes-a-run-reproducible) again on the same machine.
- `charrnn runs check` reads all runs whole, or those that you name, and says which files are damaged and which step can
  still be used. Do this before you archive a run, and after a disk has failed.
- `charrnn runs delete RUN` deletes a run. It asks first (`echo y | charrnn runs delete RUN` answers), and leaves files
  that are not charrnn's.
- Ctrl-C ends a training and saves it. `kill -USR1` saves and goes on ([all signals](reliability.md#signals)).
"""
"""What a training writes."""
ENVIRONMENT = r"""## Environment variables

| variable | what it does |
| --- | --- |
| `CHARRNN_CORPORA` | folders in which `train NAME`, `--text NAME` and the like look for texts after the current folder and `corpora/`, separated as in `PATH` |
| `CHARRNN_CACHE` | an absolute folder for caches, to which only you should be able to write, in place of the user's cache folder |
| `CHARRNN_BACKGROUND` | `dark` or `light`: the background of your terminal, by which colours are chosen |
| `CHARRNN_HIDDEN_SIZE` and the like | the value of any [setting](#settings) of `train`, typed as on the command line; a flag takes precedence, a recipe does not. Beside `--resume` it counts as the flag would: one that a run cannot change is refused. `CHARRNN_CORPUS` has names separated as in `PATH`. A variable that is set and empty is refused |
| `CHARRNN_TIMEOUT_SECONDS` | how many seconds the processes of one training wait for each other; 600 by default. A wait of more than 3 seconds says what for |

It also follows variables that other programs share:

| variable | what it does |
| --- | --- |
| `ACCESSIBLE` | with any value but `0`, commands print [words in place of drawings](../use/visualize.md#with-a-screen-reader), no colours, and nothing moves. `TERM=dumb` does the same |
| `NO_COLOR`, `FORCE_COLOR`, `COLORTERM`, `TERM` | whether there are colours, and how many |
| `COLUMNS` | the width of tables and pictures on the screen (not of exported pictures) |
| `CI` | if it is set, to other than `0` or `false`, there are no progress bars |
| `SSL_CERT_FILE` | the file with the certificates that are trusted when a text is downloaded, such as those of your network's proxy |
| `TMPDIR` | the folder for temporary files, which hold a text of more than 64 MB and the values of all cells while `visualize` measures them |
| `OMP_NUM_THREADS` | the number of threads. charrnn sets it in a container whose quota leaves it fewer cores than the machine shows |
| `OPENBLAS_NUM_THREADS` | the number of threads of NumPy's products. charrnn sets it to 1 [beside busy programs](../use/python.md#beside-busy-programs) |
| `GOMP_SPINCOUNT`, `OMP_WAIT_POLICY` | how threads wait ([beside busy programs](../use/python.md#beside-busy-programs)). charrnn sets the first, unless you have set one of them |
| `NUMBA_CACHE_DIR` | an absolute folder for machine code that numba compiles |
| `GLOO_SOCKET_IFNAME` | the network that the processes of one training use ([trust](reliability.md#several-processes-that-train-one-model)) |
| `PYTHONIOENCODING` | the encoding of what charrnn prints, in place of UTF-8 (and of the terminal's own in a terminal). What it lacks is written as `\u0437` |

## Folders

| folder | what is in it | may it be deleted? |
| --- | --- | --- |
| `checkpoints/` in the folder in which you work | your runs | only if you no longer need the models |
| `corpora/` in the folder in which you work | texts that were downloaded, and those that you put there | yes, but for your own: `charrnn corpora fetch NAME` downloads them again |
| `~/.cache/charrnn` on Linux, `~/Library/Caches/charrnn` on macOS, `%LOCALAPPDATA%\charrnn\Cache` on Windows, or `CHARRNN_CACHE` | findings of `visualize` (at most 256 MiB), compiled code, and the list of fonts for charts | yes: all is remade |
| `__pycache__` in the installed package, or `NUMBA_CACHE_DIR` | compiled code | yes |

Besides, charrnn writes temporary files and what you name, and nothing else.
"""
"""The environment variables, and the folders that charrnn writes to."""


def wrap(text: str, indent: str = "") -> str:
    """Wrap a paragraph or a list item to the width of the page; later lines begin with `indent`."""
    return textwrap.fill(
        " ".join(text.split()), WIDTH, subsequent_indent=indent, break_on_hyphens=False
    )


def item(name: str, text: str) -> str:
    """Format one entry of a list."""
    return wrap(f"- {name}: {text}", "  ")


def items(descriptions: Mapping[str, str]) -> str:
    """Format names and what they mean as a list."""
    return "\n".join(item(f"`{name}`", text) for name, text in descriptions.items())


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command by its name on the command line."""
    group: Any = typer.main.get_command(app)
    for name in group.list_commands(None):
        yield name, group.get_command(None, name)


def described_text(parameter: Any) -> str:
    """Return the text of an option or argument: its default as a sentence, which `--help` has in
    brackets."""
    text = parameter.help or ""
    # A value that can be typed is code; words are not.
    text = re.sub(r" \[default: (\S+)\]", r" Default: `\1`.", text)
    return re.sub(r" \[default: (.+)\]", r" Default: \1.", text)


LIMITED = (
    *("length", "temperature", "top_k", "top_p", "min_p"),
    *("width", "no_repeat", "count"),
)
"""Options of `sample` whose ranges are said."""


@cache
def limits() -> dict[str, str]:
    """Return the ranges of these options, by the names of their fields."""
    found = {}
    for owner in (SearchOptions, SampleOptions, SampleCommandOptions):
        for field in fields(owner):
            if field.name in LIMITED and field.metadata.get(RANGE) is not None:
                found[field.name] = field.metadata[RANGE].words
    return found


def describe_rules(command: str, option: str) -> Iterator[str]:
    """Return sentences about the options that an option needs, and about those that it does not go
    with. Of two that do not go together, one says so."""
    own = [rule for rule in RULES.get(command, ()) if option in rule.options.split()]
    needed = [as_typed(one, command=command) for rule in own for one in rule.without.split()]
    excluded = [as_typed(one, command=command) for rule in own for one in rule.beside.split()]
    if needed:
        yield f"Needs {' or '.join(f'`{one}`' for one in dict.fromkeys(needed))}."
    if excluded:
        yield f"Not with {', '.join(f'`{one}`' for one in dict.fromkeys(excluded))}."


def describe_parameter(parameter: Any, context: Any) -> str:
    """Describe one option or argument."""
    text = described_text(parameter)
    parameter.hidden = False  # The page has what the help leaves out.
    if parameter.param_type_name == "argument":
        return item(f"`{parameter.metavar}`", text)
    typed, _ = parameter.get_help_record(context)
    command = context.info_name.removeprefix("charrnn ")
    limit = limits().get(parameter.name)
    limits_and_rules = [] if limit is None else [f"Allowed: {limit}."]
    if parameter.name not in COMMON:
        limits_and_rules += describe_rules(command, parameter.opts[0])
    return item(f"`{typed}`", " ".join([text, *limits_and_rules]))


@cache
def common_parameters() -> tuple[str, ...]:
    """Describe the argument and the options that commands share."""
    found = {}
    for name in ("runs", "explore"):
        command = dict(commands())[name]
        context = command.context_class(command, info_name=f"charrnn {name}")
        found.update(
            {
                one.name: describe_parameter(one, context)
                for one in command.params
                if one.name in COMMON
            }
        )
    return tuple(found[name] for name in sorted(found))


def describe_command(name: str, command: Any) -> str:
    """Describe one command: what it does, its arguments and its options, without those that are
    described elsewhere."""
    context = command.context_class(command, info_name=f"charrnn {name}")
    summary = inspect.cleandoc(command.help or "").split("\n\n")[0]
    if name in EXPLAINED:
        summary = f"{summary.removesuffix('.')} ([page]({EXPLAINED[name]}))."
    paragraphs = [wrap(summary)]
    shown = [one for one in command.params if one.name != "help"]
    if name == "train":
        shown = [one for one in shown if one.name not in FIELDS]
    # As in the help, among the last.
    shown.sort(key=lambda one: one.name in ("export", "force"))
    described = [describe_parameter(one, context) for one in shown]
    if name == "train":
        paragraphs.append("It also takes the options of [settings](#settings).")
    listed = "\n".join(text for text in described if text not in common_parameters())
    return "\n\n".join(part for part in [f"### charrnn {name}", *paragraphs, listed] if part)


def field_docstrings() -> dict[str, str]:
    """Return the docstring below each field of `Config`."""
    documented = re.compile(r'^    (\w+): .*?^    """(.*?)"""$', re.MULTILINE | re.DOTALL)
    source = inspect.getsource(Config).replace(r"\\", "\\")
    return dict(documented.findall(source))


def allowed_values(name: str) -> str:
    """Return what a field must be, in words: its range, or else its type."""
    allowed = charrnn.config.settings._RANGES[name]
    if allowed is None:
        return charrnn.config.settings._wanted(name)
    words = [allowed.words]
    for kind in charrnn.config.settings._KINDS[name]:
        if not allowed.choices:
            words += get_args(kind)
    if type(None) in charrnn.config.settings._KINDS[name]:
        words.append("null")
    return ", or ".join(words)


def describe_field(name: str, text: str, options: Mapping[str, str]) -> str:
    """Describe one setting: its option, what it means, its default, and what it may be."""
    default = getattr(Config(), name)
    shown = "/".join(f"{share:g}" for share in default) if name == "split" else str(default)
    shown = shown.lower() if isinstance(default, bool) else shown
    names = f"`{name}`, `{options[name]}`" if name in options else f"`{name}`"
    default_text = "none" if default in (None, ()) else f"`{shown}`"
    # The default is allowed, so it is not repeated.
    allowed = allowed_values(name).removesuffix(", or null" if default is None else f", or {shown}")
    if name in ("cell_type", "depth"):
        heading = name.removesuffix("_type")
        return item(names, f"{text} Default: {default_text}. The [values](#{heading}s) are below.")
    values = words_of(allowed.removeprefix("one of "))
    if allowed == "true or false" or {*values} <= {*words_of(text), shown}:
        return item(names, f"{text} Default: {default_text}.")
    return item(names, f"{text} Default: {default_text}. Allowed: {allowed}.")


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text."""
    return re.findall(r"[\w-]+", text)


def describe_settings() -> str:
    """Describe every setting."""
    train = dict(commands())["train"]
    options = {one.name: one.opts[0] for one in train.params if one.name in FIELDS}
    texts = field_docstrings()
    listed = "\n".join(describe_field(name, texts[name], options) for name in FIELD_NAMES)
    return f"{SETTINGS.strip()}\n\n{listed}"


def describe_recipes() -> str:
    """Describe the recipes that come with charrnn: the comment of each file, and where it is."""
    recipes = Path(charrnn.config.settings_file.__file__).parent / "recipes"
    listed = {}
    for path in sorted(recipes.glob("*.yaml")):
        comment = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        listed[path.stem] = f"{comment} [Settings](../../charrnn/config/recipes/{path.name})."
    intro = (
        "`charrnn train --recipe NAME` takes the settings of a recipe as its defaults ([more about"
        " recipes](../understand/recipe.md#named-recipes))."
    )
    return f"## Recipes\n\n{wrap(intro)}\n\n{items(listed)}"


def describe_exit_codes() -> str:
    """Describe the exit codes: those of the errors, and those of signals."""
    codes = {
        "0": "success",
        "1": "the command failed while it ran, for example because the disk is full",
        "2": "the command line, a setting or a file of settings is wrong",
        "3": "the text is missing or cannot be used",
        "4": "the run or the model file is damaged, or is no run",
        "5": "the training diverged: its loss is not finite",
        "6": "another process trains this run",
        "128 + N": "[signal](reliability.md#signals) N ended the command, as Ctrl-C does with 130;"
        " a training saves a checkpoint first",
        "141": "the program that reads the output of `train` has ended; the training saves a"
        " checkpoint first",
    }
    assert {str(kind.exit_code) for kind in CharRNNError.__subclasses__()} <= {*codes}
    return f"## Exit codes\n\n{items(codes)}"


def sections() -> Iterator[str]:
    """Yield the sections of the page."""
    yield INTRODUCTION.strip()
    yield COMMANDS.strip()
    yield "\n".join(common_parameters())
    for name, command in commands():
        yield describe_command(name, command)
    yield describe_settings()
    yield (
        "## Cells\n\nThese are the values of `--type`. They have [equations](../understand/"
        "equations.md#equations-of-the-cell-types).\n\n"
        f"{items(CELL_DESCRIPTIONS)}"
    )
    yield (
        "## Depths\n\nThese are the values of `depth`. They have [equations](../understand/"
        f"equations.md#equations-of-the-depths).\n\n{items(DEPTH_DESCRIPTIONS)}"
    )
    yield (
        "## Optimizers\n\nThese are the values of `optimizer`. The recipe has [their"
        f" settings](../understand/recipe.md#optimizers).\n\n{items(OPTIMIZER_DESCRIPTIONS)}"
    )
    yield describe_recipes()
    yield describe_exit_codes()
    yield RUN_FOLDERS.strip()
    yield ENVIRONMENT.strip()


def make_reference() -> str:
    """Return the text of docs/look-up/reference.md."""
    return "\n\n".join(sections()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make_reference(), encoding="utf-8")
