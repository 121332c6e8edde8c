"""Run command lines in the laboratory by `charrnn.cli.app.run` alone: exit codes, streams and
written files."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import shlex
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import laboratory
import numpy as np
from streams import Stream

RECORDS = Path(__file__).parent / "records"
MAX_CHARS = 3_000
"""Characters of an output that is recorded as it is; of a longer one its beginning and digests are."""
EXCERPT = 80
"""Characters of the beginning of a longer output."""
MAX_LINES = 400
"""Outputs of at most so many lines have a short digest for each line."""
MAX_NUMBERS = 24
"""Numbers of an output that are compared with a tolerance, where the processor decides about the
last digits."""
CLOCKS = ("seconds", "chars_per_second")
IGNORED = ("findings", ".git", "__pycache__")
VARIABLES = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "CI",
    "COLORTERM",
    "LINES",
    "PAGER",
    "TERM_PROGRAM",
)
TERMINAL = "(terminal) "
PORTABLE = ("help", "errors", "settings", "samples", "visualize", "evaluate", "runs", "train")
"""Groups with a record that holds on every machine."""
_latest: dict[Path, dict[str, tuple[int, int, int]]] = {}
"""The stamps of all files of a laboratory after its last command line."""


@dataclass(frozen=True, slots=True)
class Case:
    """A command line: `(terminal) ` before it makes the streams terminals, ` < FILE` after it is
    its standard input."""

    line: str
    is_near: bool = False
    """Whether numbers may differ a little between processors."""


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


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Run one command line in `folder`; return its exit code, and the text of both streams and of
    each new file."""
    from charrnn.cli.app import run

    is_terminal = case.line.startswith(TERMINAL)
    command, _, file = case.line.removeprefix(TERMINAL).partition(" < ")
    arguments, stdin = shlex.split(command), (folder / file).read_bytes() if file else b""
    out, err = Stream(is_terminal=is_terminal), Stream(is_terminal=is_terminal)
    before = _latest.pop(folder, None) or _stamps(folder)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and "CHARRNN" not in name
    }
    # Without instructions for bf16, precision auto is fp32, as on processors that have none.
    settled = kept | {"COLUMNS": "80", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    # Each laboratory has findings of its own, whatever was run before; IGNORED has the folder.
    settled["CHARRNN_CACHE"] = str(folder / ".cache")
    settled["TERM"] = "xterm-256color" if is_terminal else "dumb"
    with (
        mock.patch.dict(os.environ, settled, clear=True),
        mock.patch.multiple(sys, stdin=Stream(stdin), stdout=out, stderr=err),
        mock.patch.object(sys, "argv", ["charrnn", *arguments]),
    ):
        code = run(arguments)
        texts = out.text(), err.text()
    _latest[folder] = _stamps(folder)
    changed = sorted(path for path, stamp in _latest[folder].items() if before.get(path) != stamp)
    files = {path: _describe_file(folder / path, folder) for path in changed}
    out_text = _normalised(texts[0], folder)
    err_text = _normalised(texts[1], folder)
    return {"code": code, "out": out_text, "err": err_text, "files": files}


def portable(case: Case, ran: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a result to digests and excerpts of what is the same on every machine."""
    is_near = case.is_near
    files = {
        name: text
        for name, text in ran["files"].items()
        if not (is_near and name.endswith("samples.txt"))
    }
    texts = {"out": ran["out"], "err": ran["err"], **files}
    reduced = {
        name: _reduced(_masked(text) if is_near else text) for name, text in texts.items() if text
    }
    if is_near:
        reduced["numbers"] = _numbers(ran["out"])
    return {"code": ran["code"], **reduced}


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], texts: Mapping[str, Any]
) -> list[str]:
    """Return in lines how the record `new`, made from `texts`, differs from `old`; [] if it does not."""
    said = []
    for name in {**old, **new}:
        was = old.get(name)
        now = new.get(name)
        if was == now:
            continue
        if name == "numbers" and was and now and _are_close(was, now):
            continue

        # Of a long output only digests are known: show which lines are new.
        if isinstance(was, dict) and isinstance(now, dict):
            said.append(f"  {name}: {was['digest']} → {now['digest']}")
            said += _changed_lines(was, now, texts["files"].get(name, texts.get(name, "")))
            continue

        difference = difflib.unified_diff(
            _shown_lines(was), _shown_lines(now), f"{name} before", f"{name} now", n=1, lineterm=""
        )
        said += [f"  {line}" for line in difference]
    return said


def read_record(group: str) -> dict[str, Any]:
    """Read the record of one group of cases."""
    record: dict[str, Any] = json.loads((RECORDS / f"{group}.json").read_text(encoding="utf-8"))
    return record


def write_record(group: str, record: Mapping[str, Any]) -> None:
    """Write the record of one group: one line for each line of an output, and for all its digests."""
    RECORDS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    # The digests of an output, and its numbers, on one line.
    text = re.sub(
        r'(?:\{\n {3,}"digest"|"numbers": \[)[^{}\[\]]*?[}\]](?=,?\n)',
        lambda match: re.sub(r"\n *", " ", match[0]),
        text,
    )
    (RECORDS / f"{group}.json").write_text(text + "\n", encoding="utf-8")


def _shown_lines(recorded: object) -> list[str]:
    if isinstance(recorded, list):
        return [str(line) for line in recorded]
    return [json.dumps(recorded, ensure_ascii=False)]


def _changed_lines(was: Mapping[str, Any], now: Mapping[str, Any], text: str) -> list[str]:
    """Say which lines are new, at most eight of them as they are now, and where lines are gone."""
    first = _line_digests(was)
    second = _line_digests(now)
    if not first or not second:
        return []
    lines = text.splitlines()
    said = []
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for kind, start, end, low, high in matcher.get_opcodes():
        if kind in ("replace", "delete"):
            said.append(f"    lines {start + 1} to {end} of {len(first)} are gone")
        if kind in ("replace", "insert"):
            for number in range(low, min(high, low + 8)):
                said.append(f"    line {number + 1} is new: {lines[number]}")
    return said


def _line_digests(record: Mapping[str, Any]) -> list[str]:
    digests = record.get("lines", "")
    return [digests[start : start + 3] for start in range(0, len(digests), 3)]


def _reduced(text: str) -> object:
    """Return the lines of a text, or the beginning and the digests of a long one."""
    if len(text) <= MAX_CHARS:
        return text.split("\n")
    reduced = {
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
        "starts": text[:EXCERPT],
    }
    lines = text.splitlines()
    if 1 < len(lines) <= MAX_LINES:
        reduced["lines"] = "".join(map(_line_digest, lines))
    return reduced


def _line_digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:3]


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


def _are_close(first: list[float], second: list[float]) -> bool:
    return len(first) == len(second) and np.allclose(first, second, rtol=0.01, atol=0.002)


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
    if path.suffix == ".onnx":
        return _described_graph(path)
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


def _described_graph(path: Path) -> str:
    """List the parts of an ONNX file; the order of its operations may change from one process to
    the next."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    operations = Counter(node.op_type for node in graph.node)
    parts = [
        *(f"{entry.key}: {entry.value}" for entry in model.metadata_props),
        *(" ".join(str(value).split()) for value in (*graph.input, *graph.output)),
        *(f"{name} × {count}" for name, count in sorted(operations.items())),
        *sorted(
            f"{array.name} {[*array.dims]} {_digest(array.SerializeToString())}"
            for array in graph.initializer
        ),
    ]
    return "\n".join(parts) + "\n"


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
