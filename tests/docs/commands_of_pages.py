"""Run the commands that a page of the documentation shows: in its order, in one folder, at small
budgets.

The blocks of a page run in bash, so loops, quotes and pipes mean what they mean to a reader.
`charrnn` is a function there that asks this process to run the command: a process of its own would
spend a second on importing torch.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

STARTS = ("charrnn ", "python3 ", "pip ", "mkdir ")
"""Words at the beginning of a block without a language, or with `sh`, that make it a block of
commands."""
SKIPPED = {
    "pip": "installs packages",
    "python3": "makes a virtual environment, or runs a benchmark",
    ".venv/bin/pip": "installs packages",
    ".venv/bin/pytest": "runs the tests, and this is one",
    ".": "enters a virtual environment",
    "abc2midi": "may be missing",
    "jq": "may be missing",
}
"""Programs that are not run, each with the reason."""
PYTHON = "the-python-of-the-page"
"""Stands for a command that runs a block of Python."""
MAX_STEPS, MAX_UNITS = 6, 16
"""Steps and units of every model at most."""
SMALL = {"CHARRNN_EMBEDDING_SIZE": "8", "CHARRNN_BATCH_SIZE": "4", "CHARRNN_BPTT_LENGTH": "32"}
SMALL |= {"CHARRNN_THREADS": "1", "CHARRNN_PRECISION": "fp32"}
"""Settings of every model that a page trains, unless a command sets them."""
BUDGETS = ("--steps", "--minutes", "--epochs")
SMALLER = {
    "--hidden-size": MAX_UNITS,
    "--length": 200,
    "--count": 5,
    "--beam": 4,
    "--save-every": 2,
}
"""Options whose numbers are limited."""
BASH = """
set -euo pipefail
charrnn() {
    case " $* " in *" - "*) cat > "$ANSWER.stdin" ;; *) : > "$ANSWER.stdin" ;; esac
    printf '%s\\0' "$#" "$PWD" "$@" >&"$REQUESTS"
    local code
    read -r code <&"$REPLIES"
    cat "$ANSWER"
    return "$code"
}
"""
"""The function that asks for a command: it sends the number of arguments, the folder and the
arguments."""


@dataclass
class Log:
    """What the commands of a page did."""

    ran: list[tuple[str, ...]] = field(default_factory=list)
    """The arguments of every `charrnn`, as they ran."""
    skipped: list[str] = field(default_factory=list)
    """Programs that were not run."""
    failed: list[str] = field(default_factory=list)
    """Commands that failed, and their messages."""


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block."""
    yield from re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)


def commands_of(language: str, block: str) -> str:
    """Return the commands of a block: its lines after `$ `, or all of it, or "" for the output of a
    command."""
    if language == "python":
        return f"charrnn {PYTHON} {shlex.quote(block)}\n"
    if re.search(r"^\$ ", block, re.MULTILINE):
        return "\n".join(re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)) + "\n"
    is_shell = language in ("sh", "bash", "console") or (
        language == "" and block.lstrip().startswith(STARTS)
    )
    return block if is_shell else ""


def small(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of a command with its budget and its sizes made small."""
    found = [*arguments]
    trains = arguments[:1] == ("train",) and not {"--resume", "--show-config"} & {*arguments}
    for at, (name, value) in enumerate(pairwise(arguments)):
        if name in BUDGETS:
            found[at : at + 2] = "--steps", str(MAX_STEPS)
        elif name in SMALLER:
            found[at + 1] = str(min(int(value), SMALLER[name]))
    found = [
        re.sub(r"^(\d):(\d+)", lambda cell: f"{cell[1]}:{int(cell[2]) % MAX_UNITS}", one)
        for one in found
    ]
    found = [re.sub(r"@\d+$", f"@{MAX_STEPS}", one) for one in found]
    if trains and not {*BUDGETS} & {*arguments}:
        found += ["--steps", str(MAX_STEPS)]
    return tuple(found)


def environment(arguments: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that a command gets from the environment."""
    if arguments[:1] != ("train",) or {"--resume", "--init-from"} & {*arguments}:
        return {}
    if "--hidden-size" in arguments:
        return SMALL
    return {**SMALL, "CHARRNN_HIDDEN_SIZE": str(MAX_UNITS)}


def run_blocks(script: str, folder: Path, call: Callable[..., tuple[int, str, str]]) -> Log:
    """Run a script of bash until a command fails. `call(arguments, folder, stdin)` runs `charrnn
    ARGUMENTS`."""
    log, answer = Log(), folder.parent / "answer"
    # They read what a pipe sends them, so that the command before them can end.
    skip = 'echo {0} >> "$ANSWER.skipped"; cat > /dev/null'
    skipping = "".join(f"{name}() {{ {skip.format(name)}; }}\n" for name in SKIPPED)
    requests, requests_end = os.pipe()
    replies, replies_end = os.pipe()
    names = {"REQUESTS": str(requests_end), "REPLIES": str(replies), "ANSWER": str(answer)}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    streams |= {"pass_fds": (requests_end, replies), "env": {**os.environ, **names}}
    with subprocess.Popen(["bash", "-c", BASH + skipping + script], cwd=folder, **streams) as shell:
        os.close(requests_end)
        os.close(replies)
        with open(requests, "rb") as incoming, open(replies_end, "wb", buffering=0) as outgoing:  # noqa: PTH123
            for number in iter(lambda: read_word(incoming), ""):
                where = read_word(incoming)
                arguments = [read_word(incoming) for _ in range(int(number))]
                code, out, err = call(
                    tuple(arguments), Path(where), answer.with_name("answer.stdin").read_bytes()
                )
                log.ran.append(tuple(arguments))
                if code != 0:
                    log.failed.append(f"charrnn {' '.join(arguments)}: {code}\n{err}")
                answer.write_text(out, encoding="utf-8")
                outgoing.write(f"{code}\n".encode())
        assert shell.stderr is not None
        errors = shell.stderr.read().decode()
    if shell.returncode != 0 and not log.failed:
        log.failed.append(errors)
    skipped = answer.with_name("answer.skipped")
    log.skipped = skipped.read_text(encoding="utf-8").split() if skipped.exists() else []
    return log


def read_word(stream: object) -> str:
    """Read up to the next NUL; "" at the end."""
    word = b""
    while (byte := stream.read(1)) not in (b"", b"\0"):
        word += byte
    return word.decode()
