"""Read docs/figures.yaml, which says of every figure of the pages how it was measured and of what.

The file has an entry for each figure, a number or a picture:

- `of`: all that it shows, or nothing, if nothing in it is measured: the `recipe`; `prose`, the weights of an
  included model; `card of prose`, the scores that are printed with it; `docs/peers.csv`, a file; and
  `benchmarks/LOG.md#entry`, a section of a page
- `pages`: the sections that show it, as `page#heading`; `files`: its pictures
- `command`; `minutes` that it takes; `by_hand` if more must be done than to run it, or if it is
  longer than an hour
- `prints`: what the command prints and a page or the picture shows; a test compares both
- `machine`, `instructions` (the most that torch uses), `versions`, `date`, `seeds`
- `version`: the digests of all that it is `of`, when it was measured

Every section with a picture, a date, a processor, or a number of nats, bits, megabytes or
characters per second must be named by an entry; `stated` has those whose numbers are not measured.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import charrnn
from charrnn.config.settings import Config
from charrnn.training import recipe
from charrnn.training.plan import choose_sizes, choose_steps, with_members

DOCS = Path(__file__).parents[1] / "docs"
"""The folder of the pages."""
ENTRIES = DOCS / "figures.yaml"
"""What is known of each figure."""
RECIPES = Path(recipe.__file__).parents[1] / "config" / "recipes"
"""The named recipes."""
DECIDING = (
    *("cell_type", "num_layers", "hidden_size", "embedding_size", "num_members"),
    *("dropout", "input_dropout", "weight_drop", "zoneout", "initial_state", "forget_bias"),
    *("initial_weights", "learned_after"),
    *("batch_size", "bptt_length", "reset_probability", "steps", "weight_average", "clip_norm"),
    *("learning_rate", "final_learning_rate", "warmup_steps", "weight_decay"),
    *("decay_share", "decay_shape"),
    *("optimizer", "muon_scale", "output_scale", "beta1", "beta2", "min_count", "split"),
)
"""Settings that decide what is learned, and not how fast or where it is saved."""
BEFORE_FIELD = {"decay_share": 1.0, "decay_shape": "cosine"}
"""What settings were before there was a field for them: such a value is no part of the version, so
that a new field makes no figure older."""
BUDGETS: tuple[dict[str, Any], ...] = (
    {"minutes": 0.05},
    {"minutes": 3.0},
    {"steps": 400, "hidden_size": 64},
    {"steps": 1500, "cell_type": "gru", "num_layers": 2},
    {"epochs": 20.0, "cell_type": "rnn"},
)
"""Commands whose settings are compared, for each of TEXTS."""
TEXTS = (2_000, 20_000, 1_000_000, 4_600_000)
"""Characters of a text."""
STEPS_PER_MINUTE = 2_500
"""Steps that one network takes in a minute, as if they were measured."""


def resolve(config: Config, num_chars: int) -> dict[str, Any]:
    """Return the deciding settings of a training, with what `auto` becomes."""
    num_train = int(0.9 * num_chars)
    sized = choose_sizes(config, num_train)
    num_steps = None
    if config.minutes is not None:
        num_steps = int(STEPS_PER_MINUTE * config.minutes)
        members = recipe.choose_members(sized, num_steps=num_steps, num_train_chars=num_train)
        sized = with_members(sized, members)
        most = recipe.most_useful_steps(sized, num_train)
        num_steps = min(max(1, num_steps // sized.num_networks), most)
    planned = choose_steps(
        sized,
        num_train_chars=num_train,
        num_val_chars=num_chars - num_train,
        steps_in_minutes=num_steps,
    )
    settings = asdict(planned)
    chosen = {name: settings[name] for name in DECIDING}
    for name, value in BEFORE_FIELD.items():
        if chosen[name] == value:
            del chosen[name]
    return chosen


@cache
def recipe_version() -> str:
    """Compute the version of the recipe: a digest of what it chooses, and of the named recipes."""
    chosen = [
        resolve(Config(**budget), num_chars=num_chars) for budget in BUDGETS for num_chars in TEXTS
    ]
    paths = sorted(RECIPES.glob("*.yaml"))
    named = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    return _digest(json.dumps([chosen, named], sort_keys=True))


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


yaml.SafeDumper.add_representer(str, _represent)  # a line of a command is a line of the file


def version_of(figure: dict[str, Any]) -> str:
    """Return the version of what a figure is of, as it is now; "" for one that is of nothing."""
    return ", ".join(f"{what} {_digest_of(what)}" for what in figure["of"])


CARD = "card of "
"""What precedes the name of a model whose card a figure prints."""
SHOWN_OF_CARD = ("text", "losses", "cells", "found")
"""What figures print of a card."""
SHOWN_OF_SCORE = ("detector", "layer", "unit", "gain", "polarity")
"""What figures print of a cell that was found."""


def _digest_of(what: str) -> str:
    """Return the digest of the recipe, a model, the card of a model, a file or a section of a page."""
    if what == "recipe":
        return recipe_version()
    if what.startswith(CARD):
        model = charrnn.load(what.removeprefix(CARD))
        found = []
        for score in model.found_cells:
            found.append({name: getattr(score, name) for name in SHOWN_OF_SCORE})
        card = {**model.card, "found": found}
        encoded = json.dumps([card[field] for field in SHOWN_OF_CARD], sort_keys=True)
        # As many digits as the tables print: the last ones depend on the processor.
        rounded = json.loads(encoded, parse_float=lambda digits: round(float(digits), 3))
        return _digest(json.dumps(rounded))
    if "/" in what:
        return _digest(read_shown(what))
    return charrnn.load(what).step_digest[:12]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_shown(place: str) -> str:
    """Read a file of the repository, or a section of a page, `page.md#heading`, up to the next
    heading of its level or of a higher one. Raises LookupError if the page has no such section."""
    name, _, heading = place.partition("#")
    text = (DOCS.parent / name).read_text(encoding="utf-8")
    if not heading:
        return text

    for match in re.finditer(r"(?m)^(#+) .*$", text):
        if slug(match[0]) == heading:
            following = re.split(rf"(?m)^#{{1,{len(match[1])}}} ", text[match.end() :])[0]
            # Without the blank line before another section, which the last one of a page has not.
            return (match[0] + following).rstrip()
    raise LookupError(f"{name} has no section {heading}")


def read_figures() -> dict[str, dict[str, Any]]:
    """Read the entries."""
    figures: dict[str, dict[str, Any]] = yaml.safe_load(ENTRIES.read_text(encoding="utf-8"))
    return figures


def write_figures(figures: dict[str, dict[str, Any]]) -> None:
    """Write the entries."""
    dumped = yaml.safe_dump(figures, sort_keys=False, allow_unicode=True, width=110)
    ENTRIES.write_text(dumped, encoding="utf-8")


def stale_figures() -> list[str]:
    """Return the names of the figures that show something which is not that of this commit."""
    figures = read_figures().items()
    return [name for name, figure in figures if version_of(figure) != figure["version"]]


MEASURED = re.compile(
    r"\b20\d\d-\d\d-\d\d\b|AMD EPYC|!\[|<img"
    r"|\d (?:nats|bits per|characters per second|chars/s|MB\b|GB\b)"
)
"""What only a section with a figure has, beside links and blocks of commands."""
LINK = re.compile(r"(?<!!)\[([^]]*)\]\([^)]*\)")


def sections() -> Iterator[tuple[str, str]]:
    """Yield each section of the pages, as `page#heading`, and its text."""
    readme = DOCS.parent / "README.md"
    for page in [readme, *sorted(DOCS.rglob("*.md"))]:
        if page.name in ("reference.md", "json.md"):  # are written from the code
            continue
        before, *parts = re.split(r"(?m)^(#{1,4} .*)$", page.read_text(encoding="utf-8"))
        yield page.stem, before
        for heading, shown in zip(parts[::2], parts[1::2], strict=True):
            yield f"{page.stem}#{slug(heading)}", shown


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    words = re.sub(r"[^\w\s-]", "", heading.lstrip("# ").lower())
    return re.sub(r"\s", "-", words)


def unnamed_sections() -> list[str]:
    """Return the sections that show a figure which has no entry."""
    named = {section for figure in read_figures().values() for section in figure["pages"]}
    found = []
    for section, text in sections():
        if section not in named and MEASURED.search(LINK.sub(r"\1", text)):
            found.append(section)
    return found


def facts_of(figure: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be known of a figure that is measured now."""
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*: (.*)", processor)
    name = found[1] if found else platform.machine()
    return {
        "machine": f"{os.cpu_count()} cores of an {name}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "versions": f"charrnn {charrnn.__version__}, python {platform.python_version()},"
        f" torch {torch.__version__}, numpy {np.__version__}",
        "date": date.today().isoformat(),
        "version": version_of(figure),
    }
