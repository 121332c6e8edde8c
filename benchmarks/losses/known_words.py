"""Check that a model invents no words with --known-words, in six ways that write the same text.

    python benchmarks/losses/known_words.py prose code RUN ...

A model writes 30,000 characters by the command from its run, by the command from its folder, from its
.zip, as the program of its page and as its module in node, and in Python. All texts must be the same, and
none of its words may be invented, by the division of words.py: it is another one than that of charrnn.
Beside it stands what the model invents without the option, and how many different words 100,000
characters have with and without it: a model that writes three words for ever has none invented, too.

The text that a model has learned must be there: that of `prose` is war-and-peace.txt in this folder or in
`corpora/`, and that of `code` the standard library of Python 3.11.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import charrnn
from benchmarks.losses.words import Words, words_of
from benchmarks.measuring import print_table

NUM_CHARS = 30_000
"""Characters of each text: 5,000 words of English, 3,000 of Python."""
NUM_COUNTED = 100_000
"""Characters whose different words are counted."""
OPTIONS: dict[str, Any] = {"seed": 1, "temperature": 0.8}
PAGE_IN_NODE = Path(__file__).parents[2] / "tests" / "formats" / "javascript" / "page_in_node.js"
"""The program that runs that of a page."""


def run_charrnn(*words: str) -> str:
    """Return what a command prints."""
    call = [sys.executable, "-m", "charrnn", *words]
    return subprocess.run(call, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def written_by_command(model: str) -> str:
    """Return the text that the command writes with the model of a run or a file."""
    options = [f"--length={NUM_CHARS}", f"--seed={OPTIONS['seed']}"]
    options.append(f"--temp={OPTIONS['temperature']}")
    text: str = json.loads(run_charrnn("sample", model, "--known-words", "--json", *options))[
        "text"
    ]
    return text


def written_in_node(node: str, page: Path, module: Path) -> tuple[str, str]:
    """Return the texts that a page and a module write in node."""
    options = {"prime": None, "length": NUM_CHARS, "temperature": OPTIONS["temperature"]}
    case = {**options, "seed": str(OPTIONS["seed"]), "clamps": [], "known_words": True}
    [found] = json.loads(
        subprocess.run(
            [node, PAGE_IN_NODE, page],
            input=json.dumps([case]),
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ).stdout
    )
    options |= {"seed": OPTIONS["seed"], "knownWords": True}
    program = f"""import {{ sample }} from "{module.as_uri()}";
process.stdout.write(sample({json.dumps(options)}));"""
    call = [node, "--input-type=module", "--eval", program]
    sampled = subprocess.run(call, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return found["text"], sampled


def texts_of(name: str, model: charrnn.Model) -> dict[str, str]:
    """Return the text that a model writes, by the way in which it is written."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is not installed")
    texts = {"run": written_by_command(name)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for file in ("given/", "given.zip", "given.html", "given.js"):
            run_charrnn("export", name, f"{folder}/{file}", "--known-words")
        texts["folder"] = written_by_command(f"{folder}/given")
        texts[".zip"] = written_by_command(f"{folder}/given.zip")
        # node takes a module by this suffix, wherever it is.
        module = (folder / "given.js").rename(folder / "given.mjs")
        texts["page"], texts["module"] = written_in_node(
            node, page=folder / "given.html", module=module
        )
    texts["Python"] = model.sample(length=NUM_CHARS, known_words=True, **OPTIONS).text
    return texts


def check(name: str) -> dict[str, str]:
    """Let a model write in all ways, and return a row about the texts."""
    model = charrnn.load(name)
    training, *_ = model.read_parts()
    words = Words(str(training[:]))
    texts = texts_of(name, model)
    counts = {kind: words.count(text) for kind, text in texts.items()}
    without = model.sample(length=NUM_CHARS, **OPTIONS).text
    num_different = []
    for known_words in (True, False):
        text = model.sample(length=NUM_COUNTED, known_words=known_words, **OPTIONS).text
        num_different.append(len(set(words_of(text, joins=True)[:-1])))

    num_invented, num_words = max(counts.values())
    return {
        "model": name,
        "same text": f"{sum(text == texts['Python'] for text in texts.values())} of {len(texts)}",
        "invented": f"{num_invented} of {num_words:,}",
        "without": "{} of {:,}".format(*words.count(without)),
        "different words": f"{num_different[0]:,}",
        "without, different": f"{num_different[1]:,}",
    }


def main() -> None:
    """Check all models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="runs, `prose` or `code`")
    given = parser.parse_args()
    print_table([check(model) for model in given.models])


if __name__ == "__main__":
    main()
