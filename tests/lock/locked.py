"""Run command lines in the laboratory by `charrnn.commands.app.run` alone: exit codes, streams and
written files."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import shlex
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import laboratory
import numpy as np
from command_lines import PLACES, Ran, faults, run_line

RECORDS = Path(__file__).parent / "records"
MAX_CHARS = 40_000
"""Characters of an output that is recorded whole; of a longer page its beginning, its end and a digest."""
EXCERPT = 4_000
"""Characters of the beginning and of the end of a longer output."""
MAX_NUMBERS = 24
"""Numbers of an output that are compared with a tolerance, where the processor decides about the
last digits."""
CLOCKS = ("seconds", "chars_per_second")
IGNORED = ("findings", "programs", "compiled", ".git", "__pycache__")
NUMBERS = "numbers: "
"""Begins the line of the numbers that may differ a little between processors."""
PICTURES = {code: 0x2400 + code for code in range(32)}
"""Pictures of control characters, which stand for them in the command lines of records."""
COMMENTS = r"(?m)^((?:# .*\n)+)(\$ charrnn .*\n)"
"""A comment of a record says why the command lines below it are there."""
PORTABLE = ("help", "errors", "settings", "samples", "visualize", "evaluate", "runs", "train")
"""Groups with a record that holds on every machine."""
_latest: dict[Path, dict[str, tuple[int, int, int]]] = {}
"""The stamps of all files of a laboratory after its last command line."""


@dataclass(frozen=True, slots=True)
class Case:
    """A command line: `(PLACE) ` before it is where it runs, ` < FILE` after it is its standard
    input."""

    line: str
    is_near: bool = False
    """Whether numbers may differ a little between processors."""

    @property
    def place(self) -> str:
        """The name of its place in `PLACES`."""
        return self._parts[0] or "pipe"

    @property
    def arguments(self) -> list[str]:
        """The words of the command line."""
        return shlex.split(self._parts[1])

    @property
    def stdin(self) -> bytes:
        """What the command reads from its standard input."""
        return Path(self._parts[2]).read_bytes() if self._parts[2] else b""

    @property
    def _parts(self) -> tuple[str, ...]:
        match = re.fullmatch(r"(?:\((.+?)\) )?(.*?)(?: < (.*))?", self.line, re.DOTALL)
        assert match is not None
        return match.groups("")


@contextlib.contextmanager
def new_laboratory() -> Iterator[Path]:
    """Make the texts and runs in an empty folder, the working folder meanwhile."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="lock-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        laboratory.build(folder)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def run_case(case: Case, folder: Path, **elsewhere: Any) -> tuple[Ran, dict[str, str], list[str]]:
    """Run one command line in `folder`; return what it printed, the text of each new file, and the
    rules that it broke. `elsewhere` is a place that is not its own."""
    place = elsewhere or PLACES[case.place]
    before = _latest.pop(folder, None) or _stamps(folder)
    ran = run_line(
        case.arguments,
        stdin=case.stdin,
        **place,
        # Without instructions for bf16, precision auto is fp32, as on processors that have none.
        ONEDNN_MAX_CPU_ISA="AVX512_CORE",
        # Each laboratory has findings of its own, whatever was run before; IGNORED has the folder.
        CHARRNN_CACHE=str(folder / ".cache"),
    )
    _latest[folder] = _stamps(folder)
    changed = sorted(path for path, stamp in _latest[folder].items() if before.get(path) != stamp)
    files = {path: _describe_file(folder / path, folder) for path in changed}
    same = Ran(ran.code, _normalised(ran.out, folder), _normalised(ran.err, folder))
    return same, files, faults(case.arguments, ran, **place)


def portable(case: Case, ran: Ran, files: Mapping[str, str]) -> str:
    """Write a result as a text of what is the same on every machine."""
    texts = {"stdout": ran.out, "stderr": ran.err}
    for name, text in files.items():
        if not (case.is_near and name.endswith("samples.txt")):
            texts[name] = text

    lines = [f"exit code: {ran.code}"]
    if case.is_near:
        lines.append(NUMBERS + " ".join(map(str, _numbers(ran.out))))
        texts = {name: _masked(text) for name, text in texts.items()}
    for name, text in texts.items():
        if text:
            lines += [f"{name}:", *_shown_lines(text)]
    return "\n".join(lines) + "\n"


def differences(old: str, new: str) -> list[str]:
    """Return the lines in which the record `new` differs from `old`; [] if it does not."""
    was = old.splitlines()
    now = new.splitlines()
    if is_near(old) and is_near(new) and _are_close(was[1], now[1]):
        now[1] = was[1]
    return [
        f"  {line}" for line in difflib.unified_diff(was, now, "before", "now", n=1, lineterm="")
    ]


def is_near(record: str) -> bool:
    """Return whether a record has numbers that may differ a little between processors."""
    return f"\n{NUMBERS}" in f"\n{record}"


def read_record(group: str) -> dict[Case, str]:
    """Read the records of one group of cases."""
    text = re.sub(COMMENTS, r"\2", (RECORDS / f"{group}.txt").read_text(encoding="utf-8"))
    parts = re.split(r"(?m)^\$ charrnn (.*)\n", text)[1:]
    characters = {picture: character for character, picture in PICTURES.items()}
    return {
        Case(line.translate(characters), is_near=is_near(record)): record
        for line, record in zip(parts[::2], parts[1::2], strict=True)
    }


def write_record(group: str, record: Mapping[Case, str]) -> None:
    """Write the records of one group, each below its command line, in which control characters are pictures."""
    path = RECORDS / f"{group}.txt"
    matches = re.findall(COMMENTS, path.read_text(encoding="utf-8"))
    comments = {heading: comment for comment, heading in matches}
    text = ""
    for case, shown in record.items():
        heading = f"$ charrnn {case.line.translate(PICTURES)}\n"
        text += f"{comments.get(heading, '')}{heading}{shown}"
    path.write_text(text, encoding="utf-8", newline="\n")


def _shown_lines(text: str) -> list[str]:
    """Return the lines of an output as they stand in a record: with a bar before each, control
    characters spelled, and an object of JSON with a line for each name."""
    if len(text) > MAX_CHARS:
        digest = _digest(text.encode("utf-8", "backslashreplace"))
        text = f"{text[:EXCERPT]}\n… {len(text)} characters {digest} …\n{text[-EXCERPT:]}"
    lines = []
    for line in text.split("\n"):
        parts = [line]
        if line.startswith(("{", "[")):
            parts = re.sub(r', (?=")|(?<=\}), (?=\{)', ",\n", line).split("\n")
        lines += [f"| {_spelled(part)}" for part in parts]
    return lines


def _spelled(text: str) -> str:
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", lambda one: ascii(one[0])[1:-1], text
    )


def _masked(text: str) -> str:
    """Replace each number, and colours, which are made of numbers; widths of columns follow
    numbers."""
    text = re.sub(
        r"(?<!\.)\b[0-9a-f]{16,64}\b", "DIGEST", re.sub(r"#[0-9a-fA-F]{6}\b", "#colour", text)
    )
    text = re.sub(r"[-+−]?\d+([,.]\d+)*(e[-+]?\d+)?", "#", text)
    return re.sub(r"([ ─])\1+", r"\1", text)


def _numbers(text: str) -> list[float]:
    found = re.findall(
        r"(?<![\w#])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?", re.sub(r"\x1b\[[\d;]*m", "", text)
    )
    values = [
        float(number.replace(",", "").replace("−", "-").rstrip("."))
        for number in found[:MAX_NUMBERS]
    ]
    return [float(f"{value:.5g}") for value in values]


def _are_close(first: str, second: str) -> bool:
    one = [float(number) for number in first.removeprefix(NUMBERS).split()]
    other = [float(number) for number in second.removeprefix(NUMBERS).split()]
    return len(one) == len(other) and np.allclose(one, other, rtol=0.01, atol=0.002)


def _normalised(text: str, folder: Path) -> str:
    """Replace what another folder, version or clock changes."""
    for path in {str(folder), os.path.realpath(folder)}:
        text = text.replace(path, "FOLDER")
    text = re.sub(
        r"\b(charrnn|Python|torch|numpy|NumPy|PyTorch)([ -]v?|[=:\"']+ ?[\"']?)\d+\.\d+[\w.+]*",
        r"\1\2VERSION",
        text,
    )
    text = re.sub(
        r" +[\d,]+ +\d+:\d\d\b", " SPEED TIME", text
    )  # of training: characters per second
    names = "|".join(CLOCKS)
    return re.sub(rf'("(?:{names})": )[-\d.e+]+', r"\1TIME", text)


def _stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    stamps = {}
    folders = [""]
    while folders:
        within = folders.pop()
        for entry in os.scandir(folder / within):
            name = f"{within}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in IGNORED:
                    folders.append(f"{name}/")
            else:
                status = entry.stat(follow_symlinks=False)
                stamps[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return stamps


def _describe_file(path: Path, folder: Path) -> str:
    """Describe the content of a file as a text without clocks and paths: of a binary file its parts
    and digests."""
    data = path.read_bytes()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return "".join(
                f"{name} {array.dtype} {array.shape} {_digest(array.tobytes())}\n"
                for name, array in sorted(arrays.items())
            )
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return "".join(
                _described_member(name, archive.read(name)) for name in sorted(archive.namelist())
            )
    if path.suffix == ".safetensors":
        return _described_tensors(data)
    if path.name == "manifest.json":  # has the digest of a file with the path of the text
        data = re.sub(rb'"[0-9a-f]{64}"', b'"DIGEST"', data)
        data = re.sub(rb'(training.json[^}]*"size": )\d+', rb"\1SIZE", data)
    try:
        return _normalised(data.decode("utf-8"), folder)
    except UnicodeDecodeError:
        return f"{len(data)} bytes {_digest(data)}\n"


def _described_member(name: str, data: bytes) -> str:
    return (
        f"{name}:\n{_described_tensors(data)}"
        if name.endswith(".safetensors")
        else f"{name} {_digest(data)}\n"
    )


def _described_tensors(data: bytes) -> str:
    """List the tensors of a file by name. The format: the size of the header, the header in JSON,
    the numbers."""
    size = int.from_bytes(data[:8], "little")
    header, values = json.loads(data[8 : 8 + size]), data[8 + size :]
    lines = []
    for name, tensor in sorted(header.items()):
        if name == "__metadata__":
            lines.append(f"{name} {json.dumps(tensor, sort_keys=True)}\n")
        else:
            start, end = tensor["data_offsets"]
            lines.append(
                f"{name} {tensor['dtype']} {tensor['shape']} {_digest(values[start:end])}\n"
            )
    return "".join(lines)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
