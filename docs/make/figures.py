"""Make the figures of the pages again, and say of which recipe and model each of them is.

    python docs/make/figures.py --list                      # all of them; those that are stale
    python docs/make/figures.py demo page                   # makes these again
    python docs/make/figures.py latex --texts FOLDER        # with the texts of this folder
    python docs/make/figures.py records --sign              # makes nothing: the pages were changed by hand

docs/figures.yaml has an entry for each figure: what it is `of` (the recipe, an included model, or
nothing, if nothing in it is measured), the command, the machine, the date, and the version of the
recipe or of the models. Making a figure writes these anew. `tests/pages/test_figures.py` fails where a
version is not that of the commit, and where a picture of docs/ has no entry.

A recipe may change for other texts than that of a figure, which is then as it was, and was not
measured again. Its entry says so by a line `accepted: VERSION, because REASON`, written by hand,
with the version of today as `--list` prints it.

A command runs in an empty folder with the texts of `--texts` and the variable DOCS, and what it
prints is printed, so that it can be copied to the page. One that takes long is only named: run it on
an idle machine, change the page, and use `--sign`.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import charrnn
from charrnn.config.settings import Config
from charrnn.training import recipe

DOCS = Path(__file__).parents[1]
"""The folder of the pages."""
ENTRIES = DOCS / "figures.yaml"
"""What is known of each figure."""
RECIPES = Path(recipe.__file__).parents[1] / "config" / "recipes"
"""The named recipes."""
DECIDING = (
    *("cell", "num_layers", "hidden_size", "embedding_size", "num_members"),
    *("dropout", "input_dropout", "weight_drop", "zoneout", "initial_state", "forget_bias"),
    *("initial_weights", "learned_after"),
    *("batch_size", "bptt_length", "reset_probability", "steps", "weight_average", "clip_norm"),
    *("learning_rate", "final_learning_rate", "warmup_steps", "weight_decay"),
    *("optimizer", "muon_scale", "beta1", "beta2", "min_count", "split"),
)
"""Settings that decide what is learned, and not how fast or where it is saved."""
BUDGETS: tuple[dict[str, Any], ...] = (
    {"minutes": 0.05},
    {"minutes": 3.0},
    {"steps": 400, "hidden_size": 64},
    {"steps": 1500, "cell": "gru", "num_layers": 2},
    {"epochs": 20.0, "cell": "rnn"},
)
"""Commands whose settings are compared, for each of TEXTS."""
TEXTS = (2_000, 20_000, 1_000_000, 4_600_000)
"""Characters of a text."""
STEPS_PER_MINUTE = 2_500
"""Steps that one network takes in a minute, as if they were measured."""


def resolve(config: Config, num_chars: int) -> dict[str, Any]:
    """Return the deciding settings of a training, with what `auto` becomes."""
    num_train = int(0.9 * num_chars)
    sized = recipe.choose_sizes(config, num_train)
    num_steps = None
    if config.minutes is not None:
        num_steps = int(STEPS_PER_MINUTE * config.minutes)
        sized = recipe.choose_members(sized, num_steps=num_steps, num_train_chars=num_train)
        most = recipe.most_useful_steps(sized, num_train)
        num_steps = min(max(1, num_steps // sized.num_networks), most)
    planned = recipe.choose_steps(
        sized,
        num_train_chars=num_train,
        num_val_chars=num_chars - num_train,
        steps_in_minutes=num_steps,
    )
    settings = asdict(planned)
    return {name: settings[name] for name in DECIDING}


@cache
def recipe_version() -> str:
    """Compute the version of the recipe: a digest of what it chooses, and of the named recipes."""
    chosen = [
        resolve(Config(**budget), num_chars=num_chars) for budget in BUDGETS for num_chars in TEXTS
    ]
    paths = sorted(RECIPES.glob("*.yaml"))
    named = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    encoded = json.dumps([chosen, named], sort_keys=True)
    return hashlib.sha256(encoded.encode()).hexdigest()[:12]


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


yaml.SafeDumper.add_representer(str, _represent)  # a line of a command is a line of the file


def version_of(figure: dict[str, Any]) -> str:
    """Return the version of what a figure is of, as it is now; "" for one that is of nothing."""
    words = []
    for what in figure["of"]:
        version = recipe_version() if what == "recipe" else charrnn.load(what).step_digest[:12]
        words.append(f"{what} {version}")
    return ", ".join(words)


def read_figures() -> dict[str, dict[str, Any]]:
    """Read the entries."""
    figures: dict[str, dict[str, Any]] = yaml.safe_load(ENTRIES.read_text(encoding="utf-8"))
    return figures


def stale_figures() -> list[str]:
    """Return the names of the figures whose recipe or model is not that of this commit."""
    stale = []
    for name, figure in read_figures().items():
        version = version_of(figure)
        if version not in (figure["version"], accepted_version(figure)):
            stale.append(name)
    return stale


def accepted_version(figure: dict[str, Any]) -> str | None:
    """Return the version for which a figure was not measured again; None without a reason."""
    version, _, reason = figure.get("accepted", "").partition(", because ")
    return version if reason.strip() else None


def machine() -> str:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores of an {name}"


def _drawn(module: str, function: str) -> Callable[[], None]:
    """Return what draws a figure; its module is imported when it is called."""

    def draw() -> None:
        getattr(__import__(module), function)()

    return draw


DRAWN = {
    "theory": _drawn("drawings", "write_drawings"),
    "shakespeare": _drawn("charts", "draw_bars"),
    "recipe-choice": _drawn("charts", "draw_choice"),
    "gradients": _drawn("charts", "draw_gradients"),
    "demo": _drawn("record_demo", "draw_demo"),
    "page": _drawn("screens", "draw_page"),
    "explore": _drawn("screens", "draw_explorer"),
    "write": _drawn("screens", "draw_editor"),
}
"""Figures that a function draws. All others are made by their command."""


def make(name: str, figure: dict[str, Any], texts: Path | None) -> None:
    """Make a figure. Raises SystemExit if its command fails, or is to be run by hand."""
    if name in DRAWN:
        DRAWN[name]()
        return
    if figure.get("by_hand"):
        raise SystemExit(f"{name} takes long: run `{figure['command']}`, then --sign {name}")
    with tempfile.TemporaryDirectory() as folder:
        for text in [] if texts is None else texts.iterdir():
            (Path(folder) / text.name).symlink_to(text.resolve())
        environment = {**os.environ, "DOCS": str(DOCS.resolve()), "COLUMNS": "80"}
        done = subprocess.run(["bash", "-ec", figure["command"]], cwd=folder, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{name}: the command ended with exit code {done.returncode}")


def main() -> None:
    """Make the figures that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list the figures")
    parser.add_argument("--sign", action="store_true", help="only write version, machine and date")
    parser.add_argument("--texts", type=Path, help="the folder of the texts that are learned")
    given = parser.parse_args()
    figures = read_figures()
    if given.list:
        stale = set(stale_figures())
        print(f"today: recipe {recipe_version()}")
        for name, figure in figures.items():
            state = "stale" if name in stale else figure["date"]
            command = figure["command"].replace("\n", "; ")
            print(f"{name:16} {state!s:11} {figure['version'] or 'drawn':40} {command}")
        return

    unknown = set(given.names) - set(figures)
    if unknown or not given.names:
        parser.error(f"name figures of: {', '.join(figures)}")
    for name in given.names:
        if not given.sign:
            make(name, figures[name], given.texts)
        # Read again: the figure may have taken long. The numbers of a chart that is only drawn
        # again are not measured again.
        figures = read_figures()
        figure = figures[name]
        if given.sign or not figure.get("by_hand"):
            figure |= {"machine": machine(), "date": date.today(), "version": version_of(figure)}
            figure.pop("accepted", None)
        dumped = yaml.safe_dump(figures, sort_keys=False, allow_unicode=True, width=110)
        ENTRIES.write_text(dumped, encoding="utf-8")


if __name__ == "__main__":
    main()
