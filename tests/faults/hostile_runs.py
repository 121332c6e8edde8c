"""Run folders made by an attacker: changed copies of a real run with recomputed digests."""

import gzip
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import yaml

from charrnn.runs.checkpoint import seal, seal_manifest
from charrnn.system.files import json_to_bytes
from charrnn.text.kept_texts import KEPT_TEXTS, seal_of

SECRET = "the secret of another file of this disk, which no run may show; "
READERS = ("sample", "predict", "visualize", "evaluate", "resume", "init-from", "load")
"""What reads a whole run; `runs` lists it beside others and must only go on."""
WEIGHTS, STATE = "model.safetensors", "training.json"


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is done to a run, and which commands must then refuse it; the others may, or may do
    their work."""

    build: Callable[[Path, Path], object]
    """Given the run, and a folder outside of everything a run may touch, with `secret.txt` in it.
    """
    refusing: tuple[str, ...] = READERS


def step_of(run: Path) -> Path:
    return next(run.glob("step-*"))


def change_files(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the manifest lists, and put it under its own SHA-256, which an attacker can make,
    too."""
    path = step_of(run) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("sha256", None)
    change(manifest["files"])
    path.write_bytes(seal_manifest(json_to_bytes(manifest)))


def sign(run: Path) -> None:
    """Make every digest and size in the manifest right again."""

    def list_again(files: dict[str, Any]) -> None:
        for name, entry in files.items():
            data = (step_of(run) / name).read_bytes()
            entry |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    change_files(run, list_again)


def put(run: Path, name: str, data: bytes | str) -> None:
    """Write a file of the run in every place where the run has it, and recompute the digests."""
    content = data.encode() if isinstance(data, str) else data
    if name == "config.yaml":
        if content.startswith(b"# SHA-256"):
            content = content.partition(b"\n")[2]
        content = seal(content)
    for path in (run / name, step_of(run) / name):
        if path.exists():
            path.write_bytes(content)
    sign(run)


def set_config(run: Path, **changes: Any) -> None:
    put(
        run,
        "config.yaml",
        yaml.safe_dump(yaml.safe_load((run / "config.yaml").read_text()) | changes),
    )


def add_to_config(run: Path, field: str, text: str) -> None:
    """Put YAML, as it stands, in the place of a field."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config.pop(field, None)
    put(run, "config.yaml", yaml.safe_dump(config) + text + "\n")


def set_state(run: Path, **changes: Any) -> None:
    state = json.loads((step_of(run) / STATE).read_text()) | changes
    put(run, STATE, json.dumps({name: value for name, value in state.items() if value is not None}))


def change_bias(run: Path, change: Callable[[Any], Any]) -> None:
    """Replace the bias of the output; None leaves it out."""
    tensors = safetensors.numpy.load((step_of(run) / WEIGHTS).read_bytes())
    changed = {**tensors, "output.bias": change(tensors["output.bias"])}
    put(
        run,
        WEIGHTS,
        safetensors.numpy.save(
            {name: value for name, value in changed.items() if value is not None}
        ),
    )


def move_out(path: Path, outside: Path) -> None:
    """Leave a link to a good copy outside in the place of a file or folder."""
    target = outside / path.name
    shutil.move(path, target)
    path.symlink_to(target)


def link(path: Path, target: str | Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def enlarge(run: Path, name: str, num_bytes: int) -> None:
    """Let a file of a step end in a hole of so many bytes."""
    os.truncate(step_of(run) / name, num_bytes)
    sign(run)


class Payload:
    """What a pickle would run, were it ever read."""

    def __init__(self, outside: Path) -> None:
        self.outside = outside

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.outside}/was-run",)


def steal(run: Path, corpus: object, digest: str | None = None) -> None:
    """Name another file as the text, and no digest that could be compared, or a wrong one."""
    set_config(run, corpus=[str(corpus)])
    set_state(run, corpus_digest=digest)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def keep(run: Path, content: bytes) -> None:
    """Keep texts of documents that no document has, and let every checkpoint record them."""
    packed = gzip.compress(content, compresslevel=1)
    (run / KEPT_TEXTS).write_bytes(packed)
    set_state(run, document_texts=seal_of(packed))


NESTED = "[" * 100_000
WANTS_TEXT = ("visualize", "evaluate", "resume")
WRONG = "0" * 64
TEXTS: dict[str, Callable[[Path, Path], object]] = {
    # Read, to compare its digest, and never shown.
    "a secret, with a digest": lambda run, out: out / "secret.txt",
    "a secret, by a way out": lambda run, out: os.path.relpath(out / "secret.txt", run.parents[1]),
    "an address": lambda run, out: "https://localhost/text.txt",
    "of the catalogue": lambda run, out: "war-and-peace",
    "a pipe": lambda run, out: pipe(out / "pipe"),
}

REFUSED: dict[str, Callable[[Path, Path], object]] = {
    "weights that are a pickle": lambda run, out: put(run, WEIGHTS, pickle.dumps(Payload(out))),
    "an object in YAML": lambda run, out: add_to_config(
        run, "seed", f"seed: !!python/object/apply:os.system ['touch {out}/was-run']"
    ),
    "linked weights": lambda run, out: move_out(step_of(run) / WEIGHTS, out),
    "a linked manifest": lambda run, out: move_out(step_of(run) / "manifest.json", out),
    "a way out in the manifest": lambda run, _: change_files(
        run, lambda files: files.update({"../../../outside/secret.txt": files.pop(WEIGHTS)})
    ),
    "training state of 300 MB": lambda run, _: enlarge(run, "training.safetensors", 3 * 10**8),
    "10^9 units": lambda run, _: set_config(run, hidden_size=10**9),
    "fewer units than the weights are for": lambda run, _: set_config(run, hidden_size=5),
    "a weight that is NaN": lambda run, _: change_bias(run, lambda bias: bias * np.float32("nan")),
    "deep JSON in vocab.json": lambda run, _: put(run, "vocab.json", NESTED),
    "deep YAML": lambda run, _: add_to_config(run, "split", f"split: {NESTED[:20_000]}"),
    "a pipe in the place of the weights": lambda run, _: pipe(step_of(run) / WEIGHTS),
    "a tensor too few": lambda run, _: change_bias(run, lambda bias: None),
    "a text in an encoding that is a module": lambda run, _: set_config(
        run, encoding="antigravity"
    ),
}
NOT_RESUMED: dict[str, Callable[[Path, Path], object]] = {
    "training state that is a pickle": lambda run, out: put(
        run, "training.safetensors", pickle.dumps(Payload(out))
    ),
    "samples linked to a secret": lambda run, out: link(run / "samples.txt", out / "secret.txt"),
    "a pipe in the place of the history": lambda run, _: pipe(run / "metrics.jsonl"),
    "a window of 34 GB": lambda run, _: set_config(run, batch_size=65536, bptt_length=65536),
    "a cursor of 400 digits": lambda run, _: set_state(run, cursor=10**400),
}
HARMLESS: dict[str, Callable[[Path, Path], object]] = {
    # The step has its own, which is taken, with a warning.
    "a linked config.yaml": lambda run, out: move_out(run / "config.yaml", out),
    "a pipe in the place of vocab.json": lambda run, _: pipe(run / "vocab.json"),
    "a way out in a pointer": lambda run, out: (run / "best").write_text(f"../../{out.name}\n"),
    "a loss of 400 digits": lambda run, _: set_state(run, best_nats=10**400, best_step=10**400),
    "a best step of 300 digits": lambda run, _: set_state(run, best_nats=1.0, best_step=10**300),
    "a text recorded at no place": lambda run, _: set_state(run, corpus_locations=[{"a": [1]}]),
    "a run to start with": lambda run, out: set_config(run, init_from=str(out)),
    "a history of huge numbers": lambda run, _: append(
        run / "metrics.jsonl",
        f'{{"step": {10**400}, "seconds": {10**400}, "val_nats": {10**400}}}\n' * 2,
    ),
    "documents linked to a secret": lambda run, out: link(run / KEPT_TEXTS, out / "secret.txt"),
    "a pipe in the place of documents": lambda run, _: pipe(run / KEPT_TEXTS),
    "documents that are lists": lambda run, _: keep(run, b'["a", [' + b"{}," * 4 * 10**7),
    "documents of 300 MB": lambda run, _: keep(run, b'["' + b"a" * 3 * 10**8),
    "a history that is deep": lambda run, _: append(run / "metrics.jsonl", NESTED + "\n{}\n"),
}
HOSTILE = {
    **{case: Hostile(build) for case, build in REFUSED.items()},
    **{case: Hostile(build, ("resume",)) for case, build in NOT_RESUMED.items()},
    **{case: Hostile(build, ()) for case, build in HARMLESS.items()},
    "a corpus name of 10^5 characters": Hostile(
        lambda run, _: set_config(run, corpus=["k" * 100_000]), WANTS_TEXT
    ),
    "a text that is a secret": Hostile(lambda run, out: steal(run, out / "secret.txt"), WANTS_TEXT),
    **{
        f"a text that is {what}": Hostile(
            lambda run, out, where=where: steal(run, where(run, out), WRONG), WANTS_TEXT
        )
        for what, where in TEXTS.items()
    },
}


def record_as(what: str) -> Hostile:
    """The name in config.yaml still leads to the text that it learned, but the digest is none."""

    def build(run: Path, out: Path) -> None:
        location = str(TEXTS[what](run, out))
        set_state(run, corpus_locations=[location], corpus_digest=WRONG)

    return Hostile(build, WANTS_TEXT)


for recorded in ("a secret, with a digest", "of the catalogue"):
    HOSTILE[f"a text recorded as {recorded}"] = record_as(recorded)
