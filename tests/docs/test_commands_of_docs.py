"""Every command of the README, the tour and other pages runs, in order, in one folder, at small
budgets.

The blocks of a page run in bash, so loops, quotes and pipes mean what they mean to a reader.
`charrnn` is a function there that asks this process to run the command: a process of its own would
spend a second on importing torch.
"""

import json
import os
import random
import re
import shlex
import shutil
import string
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest
from environment import REPOSITORY
from synthetic import make_corpus

from charrnn.analyses.why.many_places import why_places
from charrnn.text import sources

PAGES = [
    "README.md",
    "docs/learn/tour.md",
    "docs/use/your-text.md",
    "docs/use/lists.md",
    "docs/learn/teaching.md",
    "docs/use/music.md",
    "docs/use/fine-tuning.md",
    "docs/learn/lstm-by-hand.md",
    "docs/understand/cells.md",
    "docs/understand/equations.md",
    "docs/understand/recipe.md",
    "docs/understand/theory.md",
    "docs/use/evaluation.md",
    "docs/use/export.md",
    "docs/use/game.md",
    "docs/use/generation.md",
    "docs/use/manuscript.md",
    "docs/use/molecules.md",
    "docs/use/scaling.md",
    "docs/use/visualize.md",
]
"""The pages whose commands run."""
HELLO = "charrnn train --recipe hello --hidden-size 3 --steps 4 --out four"
BEFORE = {
    "docs/understand/cells.md": "charrnn train novel.txt",
    "docs/understand/equations.md": HELLO,
    "docs/understand/recipe.md": "charrnn train text.txt",
    "docs/understand/theory.md": HELLO,
    "docs/use/evaluation.md": """
charrnn train novel.txt --split 80/10/10 --out small
charrnn train novel.txt --split 80/10/10 --out large
""",
    "docs/use/export.md": "charrnn train shakespeare.txt --out checkpoints/shakespeare",
    "docs/use/game.md": "touch game.html",
    "docs/use/generation.md": """
charrnn train shakespeare.txt --out checkpoints/play
charrnn train shakespeare.txt --out checkpoints/shakespeare
charrnn train towns.txt --documents lines --out towns
""",
    "docs/use/visualize.md": "charrnn train novel.txt --out paper",
}
"""The commands that have made the runs and the files of which a page speaks."""
STARTS = ("charrnn ", "python3 ", "pip ", "mkdir ")
"""Words at the beginning of a block without a language, or with `sh`, that make it a block of
commands."""
SKIPPED = ("pip", "python", "python3", ".venv/bin/pip", ".venv/bin/pytest", ".", "abc2midi", "jq")
SKIPPED += ("hf", ".venv/bin/python")
"""Programs that are not run: they install packages, run for long, need a network, or may be
missing."""
NEEDS_TERMINAL = "explore"
"""The command that is not run, because it needs a terminal."""
LISTS_OF_THE_CATALOGUE = ("places", "molecules")
"""Texts of the catalogue in place of which there is a file here: it is read line by line, as the
catalogue says of the text."""
NO_DEPENDENCY = "rdkit"
"""A package that a program on a page imports, and that may be missing."""
PYTHON = "the-python-of-the-page"
"""Stands for a command that runs a block of Python."""
MAX_STEPS, MAX_UNITS = 6, 16
"""Steps and units of every model at most."""
MAX_PLACES = 12
"""Places at which a prediction is explained."""
SMALL = {"CHARRNN_EMBEDDING_SIZE": "8", "CHARRNN_BATCH_SIZE": "4", "CHARRNN_BPTT_LENGTH": "32"}
SMALL |= {"CHARRNN_THREADS": "1", "CHARRNN_PRECISION": "fp32"}
"""Settings of every model that a page trains, unless a command sets them."""
BUDGETS = ("--steps", "--minutes", "--epochs")
INCLUDED = ("prose", "code")
"""Models that have all units of which a page speaks."""
LIMITS = {
    "--hidden-size": MAX_UNITS,
    "--parameters": 10_000,
    "--length": 200,
    "--count": 5,
    "--beam": 4,
}
"""Options whose numbers are limited."""
# A program that is skipped reads what a pipe sends it, so that the command before it can end.
BASH = "".join(f"{name}() {{ cat > /dev/null; }}\n" for name in SKIPPED)
BASH += """
set -euo pipefail
charrnn() {
    case " $* " in *" - "*) cat > "$ANSWER.stdin" ;; *) : > "$ANSWER.stdin" ;; esac
    printf '%s\\0' "$PWD" "$@" > "$ANSWER.words"
    echo >&"$REQUESTS"
    local code
    read -r code <&"$REPLIES"
    cat "$ANSWER"
    return "$code"
}
"""
"""The function that asks for a command: it writes the folder and the arguments into a file."""
LETTERS = string.ascii_letters + string.digits + string.punctuation + " "
"""Characters that every text contains, so that any prime of the pages is known."""
pytestmark = [
    pytest.mark.docs,
    pytest.mark.trained,
    pytest.mark.skipif(
        sys.platform == "win32" or shutil.which("bash") is None, reason="the pages use bash"
    ),
]


def blocks(page):
    """Return the language and the text of each fenced block."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)


def commands_of(language, block):
    """Return the commands of a block: its lines after `$ `, or all of it, or "" for the output of a
    command."""
    if language == "python":
        if NO_DEPENDENCY in block:
            return ""
        return f"charrnn {PYTHON} {shlex.quote(block)}\n"
    typed = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
    if typed:
        return "\n".join(typed) + "\n"
    is_shell = language in ("sh", "bash", "console")
    return block if is_shell or (language == "" and block.lstrip().startswith(STARTS)) else ""


def small(arguments):
    """Return the arguments of a command with its budget and its sizes made small."""
    found = [*arguments]
    for at, (name, value) in enumerate(pairwise(arguments)):
        if name in BUDGETS:
            found[at : at + 2] = "--steps", str(MAX_STEPS)
        elif name in LIMITS:
            found[at + 1] = str(min(int(value), LIMITS[name]))
    if not {*INCLUDED} & {*arguments}:
        found = [
            re.sub(r"^(\d):(\d+)", lambda cell: f"{cell[1]}:{int(cell[2]) % MAX_UNITS}", one)
            for one in found
        ]
    found = [re.sub(r"@\d+$", f"@{MAX_STEPS}", one) for one in found]
    if arguments[0] == "train" and not {*BUDGETS, "--resume", "--show-config"} & {*arguments}:
        found += ["--steps", str(MAX_STEPS)]
    if arguments[0] == "train" and {*arguments[1:2]} & {*LISTS_OF_THE_CATALOGUE}:
        found += ["--documents", "lines"]
    return found


def environment(arguments):
    """Return the settings that a command gets from the environment."""
    if arguments[0] != "train" or {"--resume", "--init-from"} & {*arguments}:
        return {}
    if "--hidden-size" in arguments:
        return SMALL
    return {**SMALL, "CHARRNN_HIDDEN_SIZE": str(MAX_UNITS)}


def words(number, separator, seed=0):
    """Draw words of a few letters."""
    generator = random.Random(seed)
    drawn = (
        "".join(generator.choices("abdeiklmnorstu", k=generator.randint(3, 8)))
        for _ in range(number)
    )
    return separator.join(drawn)


def write_texts(folder):
    """Write the texts that the pages name into a folder."""
    prose = "\n".join([*[LETTERS] * 3, make_corpus(num_chars=20_000).text])
    tunes = (
        f"X:{number}\nT:{LETTERS}\nM:4/4\nK:D\n{words(16, '|', number)}|]" for number in range(300)
    )
    generator = random.Random(0)
    molecules = "\n".join(
        "C" * generator.randint(1, 9) + "S(=O)(=O)Nc1ccc2c(c1)cccc2" for _ in range(300)
    )
    rows = [f"{row},{words(6, ' ', row)}\n" for row in range(300)]
    texts = {
        **dict.fromkeys(("novel.txt", "alice.txt", "chapters/one.txt"), prose),
        **dict.fromkeys(
            ("shakespeare.txt", "text.txt", "my.txt", "passage.txt", "novel.docx"), prose
        ),
        **dict.fromkeys(("many.smi", "few.smi", "sulfonamides.smi", "actives.smi"), molecules),
        **dict.fromkeys(("molecules.txt", "list.txt", "candidates.smi"), molecules),
        "table.csv": f"smiles\n{molecules}",
        "stories/one.txt": prose,
        "_chat.txt": "".join(f"Mara: {line}\n" for line in (LETTERS, words(900, " "))),
        **dict.fromkeys(
            ("names.txt", "places.txt", "towns.txt"),
            "\n".join([*[LETTERS] * 3, words(1500, "\n")]),
        ),
        "poems.txt": "\n\n".join(words(24, " ", seed).replace(" m", "\nm") for seed in range(200)),
        "sayings.txt": "\n%\n".join(words(24, " ", seed) for seed in range(200)),
        "tunes.abc": "\n\n".join(tunes),
        "monday.log": "\n".join(f"{LETTERS} {words(5, ' ', day)}" for day in range(90)),
        "tuesday.log": "\n".join(words(8, " ", day) for day in range(200, 260)),
        "messages.csv": "".join(["date,text\n", *rows]),
        "firms.csv": "".join(["id,name\n", *rows]),
        "my.py": Path(sources.__file__).read_text(encoding="utf-8"),
        **{f"poems/{number}.txt": words(24, " ", number) for number in range(60)},
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(Path(sources.__file__).parent, folder / "project")


@pytest.fixture
def call(command, monkeypatch):
    """Return a function that runs a command of a page in a folder."""
    # The standard library has 5 million characters: too many for a test.
    paths = sysconfig.get_paths() | {"stdlib": str(REPOSITORY / "charrnn" / "config")}
    monkeypatch.setattr(sysconfig, "get_paths", lambda *_: paths)
    # The usual 100 places of an included model take a minute.
    monkeypatch.setitem(why_places.__kwdefaults__, "num_places", MAX_PLACES)

    def run(arguments, where, stdin):
        with monkeypatch.context() as patch:
            patch.chdir(where)
            if arguments[0] == NEEDS_TERMINAL:
                return command("--version")
            if arguments[0] == PYTHON:
                exec(compile(arguments[1], "the page", "exec"), {})
                return command("--version")
            for name, value in environment(arguments).items():
                patch.setenv(name, value)
            return command(*small(arguments), stdin=stdin)

    return run


def run_script(script, folder, call):
    """Run a script of bash until a command fails; return the number of commands that ran.
    `call(arguments, folder, stdin)` runs `charrnn ARGUMENTS`."""
    answer = folder.parent / "answer"
    num_calls = 0
    requests, requests_end = os.pipe()
    replies, replies_end = os.pipe()
    names = {"REQUESTS": str(requests_end), "REPLIES": str(replies), "ANSWER": str(answer)}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    streams |= {"pass_fds": (requests_end, replies), "env": {**os.environ, **names}}
    with subprocess.Popen(["bash", "-c", BASH + script], cwd=folder, **streams) as shell:
        os.close(requests_end)
        os.close(replies)
        with os.fdopen(requests) as incoming, os.fdopen(replies_end, "wb", 0) as outgoing:
            for _ in incoming:
                num_calls += 1
                typed = answer.with_name("answer.words").read_text(encoding="utf-8")
                where, *arguments = typed.split("\0")[:-1]
                ran = call(arguments, where, answer.with_name("answer.stdin").read_bytes())
                assert ran.code == 0, f"charrnn {' '.join(arguments)}: {ran.err}"
                answer.write_text(ran.out, encoding="utf-8")
                outgoing.write(b"0\n")
        errors = shell.stderr.read().decode()
    assert shell.returncode == 0, errors
    return num_calls


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_the_page_run(name, call, tmp_path):
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    write_texts(tmp_path / "folder")
    script = BEFORE.get(name, "") + "\n"
    script += "".join(commands_of(language, block) for language, block in blocks(page))
    shown = re.findall(r"(?m)^ *(?:\$ )?charrnn ", "".join(text for _, text in blocks(page)))
    assert run_script(script, tmp_path / "folder", call) >= len(shown) > 0


def test_the_example_of_a_sample_in_json_is_what_the_command_prints(process):
    page = (REPOSITORY / "docs/look-up/formats.md").read_text(encoding="utf-8")
    command, shown = re.search(
        r"`charrnn (sample [^`]* --json)` prints [^`]*```\n(.*?)```", page, re.S
    ).groups()

    printed = json.loads(process("-m", "charrnn", *shlex.split(command)).stdout)

    assert {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in printed.items()
    } == json.loads(shown)
