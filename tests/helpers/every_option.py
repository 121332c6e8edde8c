"""Models of all kinds, and an example of every option of the commands that take a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from conftest import SMALL_RUN
from synthetic import make_corpus

import charrnn
import charrnn.commands.app  # whose commands the group takes
from charrnn.cli.root import commands
from charrnn.config.options import Option, parameters_of
from charrnn.hooks.manager import load_place
from charrnn.views.delivery import FORMATS

BASES = {
    "sample": "sample {run} --length 20 --seed 1",
    "visualize": "visualize {run}",
    "evaluate": "evaluate {run}",
    "runs": "runs {run}",
    "export": "export {run} made.zip",
    "predict": "predict {run} aa",
}
"""A command line of each command that takes a run. The examples of its options are added to it."""
SEARCH = "sample {run} --length 20"
"""A line of `sample` without a seed, which a search refuses."""
EXPORTS = tuple(f"--export made{suffix}" for suffix in FORMATS if suffix not in (".npz", ".pdf"))
CHARTS = ("--export made.svg", "--export made.pdf", "--export made.html", "--export made.txt")
COMMON = {
    "--debug": ("",),
    "--force": ("--export made.svg --force",),
    "--json": ("--json",),
    "--precision": ("--precision fp32",),
    "--quiet": ("--quiet",),
    "--run": ("",),
    "--seed": ("--seed 3",),
    "--temp": ("--temp 0.5", "--temp 0.2,1"),
    "--text": ("--text strange.txt", "--text {few}"),
    "--top": ("--top 2",),
}
"""What is added to try an option that several commands have. The first example is always tried, the
others with `-m thorough`."""
EXAMPLES = {
    "sample": {
        "--ban": ("--ban a",),
        "--beam": (f"{SEARCH} --beam 2", f"{SEARCH} --beam 2 --count 2"),
        "--clamp": ("--clamp 0:1=0.5",),
        "--color": ("--color 0:1", "--color surprise"),
        "--count": ("--count 2", "--count 2 --json"),
        "--export": (
            *EXPORTS,
            f"{SEARCH} --beam 2 --count 2 --export made.svg",
            "--temp 0.2,1 --export made.html",
        ),
        "--known-words": ("--known-words", "--known-words --count 2"),
        "--length": ("sample {run} --seed 1 --length 5",),
        "--match": ("--match [ab]{{3}}",),
        "--min-p": ("--min-p 0.2",),
        "--new": ("--new", "--new --count 2"),
        "--no-copy": ("--no-copy 9",),
        "--no-repeat": (f"{SEARCH} --no-repeat 3 --beam 2",),
        "--trace": ("--trace", "--trace --json"),
        "--seed": (f"{SEARCH} --seed 3",),
        "--prime": ("--prime a", "--prime @{few}"),
        "--stop": ("--stop a",),
        "--top-k": ("--top-k 2",),
        "--top-p": ("--top-p 0.5",),
        "--sort": ("--sort likely --count 2", "--sort excess --count 2 --export made.csv"),
        "--unique": ("--unique --count 2", "--unique --count 2 --export made.csv"),
        "--unknown": ("--unknown nearest --prime aé",),
    },
    "visualize": {
        "--cell": ("--cell 0:1", "--cell 0:1 --cell 0:2 --json"),
        "--chars": ("--surprise --chars 20",),
        "--detect": ("--find --detect [aob]", "--detect mine.py"),
        "--detector": ("--detector line-position",),
        "--export": (*EXPORTS, "--export made.npz"),
        "--find": ("--find", "--find --json"),
        "--evidence": ("--evidence best", "--evidence 0:1 --detector line-position --json"),
        "--gates": ("--gates", "--gates --export made.pdf"),
        "--gradients": ("--gradients", "--gradients --export made.svg"),
        "--guesses": ("--cell 0:1 --guesses --chars 40",),
        "--recompute": ("--find --recompute",),
        "--part": ("--part test", "--surprise --part test"),
        "--surprise": ("--surprise", "--surprise --top 2 --export made.csv"),
        "--why": ("--why a --text letters.txt", "--why a --json --text letters.txt"),
        "--with": ("--gradients --with {other}",),
    },
    "evaluate": {
        "--chars": ("--chars 100",),
        "--export": EXPORTS,
        "--ngrams": ("--ngrams", "--ngrams --text strange.txt"),
        "--part": ("--part test",),
        "--per-line": ("--per-line", "--per-line --text strange.txt"),
        "--windowed": ("--windowed",),
    },
    "runs": {
        "--export": (*EXPORTS, *(f"--plot {one}" for one in CHARTS)),
        "--plot": ("--plot",),
        "--sort": ("--sort loss",),
    },
    "export": {
        "--force": ("--force",),
        "--known-words": ("--known-words", "export {run} made.html --known-words"),
        "--new": ("export {run} made.js --new",),
        "--title": ("export {run} made.html --title Lamps",),
    },
    "predict": {
        "--why": ("--why next", "--why next --json", "--why next --export made.csv"),
        "--chars": ("--why next --chars 1",),
        "--backward": (
            "--numbers --backward",
            "--numbers --backward --export made.html",
            "--numbers --backward --export made.csv",
        ),
        "--export": ("--export made.svg", "--numbers --export made.html"),
        "--numbers": ("--numbers",),
        "--text": ("predict {run} --trace --text strange.txt",),
        "--trace": ("--trace", "--trace --json", "--trace --export made.html"),
        "--within": ("predict {run} --text prose.txt --within",),
        "--unknown": ("--unknown nearest",),
    },
}
"""The same for the options of each command. `{run}` is the model, `{other}` a plain one, `{few}` the
first lines of the model's text. An example that begins with the command is the whole line."""
SAME_FOR_ALL = (
    *("--debug", "--quiet", "--force", "--out", "--run", "--sort", "--plot", "--title", "--seed"),
    *("--precision", "--recompute", "--length", "--chars", "--top", "--temp"),
    *("--top-k", "--top-p", "--min-p"),
)
"""Options that mean the same for every model, whatever its text is made of."""
REFUSED = {
    "--new": ("plain", "bytes", "several", "two"),  # have no documents
    "--known-words": ("bytes", "two"),  # have no words
    "--evidence": ("lines", "column", "two"),  # documents too short, a text too uniform
    "--detector": ("two",),
    "--detect": ("two",),
    "--with": ("bytes",),  # has another alphabet
}
"""The kinds of models that refuse the examples of an option. All others take them."""
ELSEWHERE = {
    "demo": "demo",
    "explore": "explore --help",
    "train": "train prose.txt --steps 1 --hidden-size 4 --out checkpoints/new",
    "corpora": "corpora list",
}
"""A line of each command that makes a run or takes none: their options have tests of their own."""
PROSE = make_corpus(num_chars=4_400).text
TEXTS = {
    "prose.txt": PROSE,
    "names.txt": "Anna\nBernd\nCarla (a)\n\n" * 220,
    "poems.csv": "title,poem\n" + 'one,"abc\nfga"\ntwo,abdefg\n' * 300,
    "bytes.txt": "zäba «molü» 語 🙂\n" * 220,
    "two.txt": "ab" * 1_300 + "aab" * 600,
    "letters.txt": "abaab" * 44,
    "strange.txt": PROSE[:300] + "é語“\u0301x”🙂\n" * 20,
    "empty.txt": "",
    "mine.py": "def label(text):\n    return [character in 'aob' for character in text]\n",
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("prose.txt", {}),
    "lines": ("names.txt", {"documents": "lines"}),
    "blank-lines": ("names.txt", {"documents": "blank-lines"}),
    "column": ("poems.csv", {"documents": "column", "column": "poem"}),
    "bytes": ("bytes.txt", {"alphabet": "byte"}),
    "several": ("prose.txt", {"num_members": 2}),
    "two": ("two.txt", {}),
}
"""The text and the settings of each kind of model that is trained here."""


def write_texts(folder: Path) -> None:
    """Write all texts, and the first lines of each."""
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text.encode())
        (folder / f"few-{name}").write_bytes("".join(text.splitlines(keepends=True)[:60]).encode())
    (folder / "few-two.txt").write_text("abaab" * 60, encoding="utf-8")


def train(folder: Path, kind: str) -> None:
    """Train a model of a kind for four steps, with three checkpoints."""
    text, settings = KINDS[kind]
    steps = {"threads": 1, "steps": 4, "save_every": 2, "keep": 5, "split": (0.4, 0.4, 0.2)}
    config = charrnn.Config(corpus=(str(folder / text),), **{**SMALL_RUN, **steps, **settings})
    list(charrnn.train(config, out=folder / "checkpoints" / kind))


def parameters_of_command(name: str) -> list[Option]:
    """Return all options and arguments of a command."""
    return list(parameters_of(get_type_hints(load_place(commands()[name].place))["options"]))


def examples_of(command: str, flag: str) -> tuple[str, ...]:
    """Return what is added to the command line to try an option; nothing for one without an
    example."""
    return EXAMPLES.get(command, {}).get(flag, COMMON.get(flag, ()))


def command_lines(*, num_examples: int | None, is_plain: bool) -> Iterator[tuple[str, str]]:
    """Yield the command lines of all commands, each with the option that it tries: the first
    examples of each option. Those of `SAME_FOR_ALL` are for a plain model only."""
    for command, base in BASES.items():
        yield "", base
        for one in parameters_of_command(command):
            if one.flag and (is_plain or one.flag not in SAME_FOR_ALL):
                for example in examples_of(command, one.flag)[:num_examples]:
                    is_whole = example.startswith(command)
                    yield one.flag, example if is_whole else f"{base} {example}".rstrip()
