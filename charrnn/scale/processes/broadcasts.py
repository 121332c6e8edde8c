"""What several processes agree on: the configuration, a checkpoint, and the text that each of them reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import safetensors.numpy

from charrnn.config import Config
from charrnn.errors import DataError, UsageError
from charrnn.runs.checkpoint import Checkpoint, tensors_to_bytes
from charrnn.runs.description import Description
from charrnn.scale.processes.distributed import World
from charrnn.settings import from_yaml, to_yaml

Result = TypeVar("Result")
"""What a block returns."""


def check_no_stdin(corpus: Iterable[str], num_processes: int) -> None:
    """Raise UsageError if several processes are to read standard input, which only one of them can."""
    if num_processes > 1 and "-" in corpus:
        raise UsageError(
            f"- is standard input, which {num_processes} processes cannot all read\n"
            "save the text in a file, or train in one process"
        )


def share_config(world: World, config: Config) -> Config:
    """Return the configuration of the first process."""
    if world.size == 1:
        return config
    return from_yaml(world.broadcast_bytes(to_yaml(config).encode("utf-8")).decode("utf-8"), "the first process", {})


def in_turn(world: World, read: Callable[[], Result]) -> Result:
    """Return what `read` returns, called by the first process of each host and then by the others.

    So what the first one downloads or caches is there for the others. Raises what it raises.
    """
    with world.together():
        result = read() if world.local_rank == 0 else None
    with world.together():
        return read() if result is None else result


def check_same_text(world: World, digest: str) -> None:
    """Raise DataError if this process read a text with another `digest` than the first one."""
    first = world.of_first(digest)
    with world.together():
        if digest != first:
            raise DataError(
                f"process {world.rank} of {world.size} reads another text than the first one under the same name\n"
                "copy the same files to every host"
            )


def share_checkpoint(world: World, loaded: Checkpoint | None) -> Checkpoint:
    """Return the checkpoint that the first process has `loaded`: the others need no access to the run's folder."""
    if world.size == 1:
        assert loaded is not None, "a process alone has loaded it"
        return loaded
    head: dict[str, Any] = {}
    if loaded is not None:
        description = loaded.description
        head = {name: getattr(loaded, name) for name in ("name", "step", "digest")}
        head |= {"state": dict(loaded.state), "warnings": list(loaded.warnings), "folder": str(description.folder)}
        parts = description.config_yaml, description.vocab_json, *map(tensors_to_bytes, (loaded.model, loaded.training))
    else:
        parts = (b"",) * 4
    sent: Any = world.of_first(head)
    config_yaml, vocab_json, model, training = map(world.broadcast_bytes, parts)
    return loaded or Checkpoint(
        name=sent["name"],
        step=sent["step"],
        model=safetensors.numpy.load(model),
        training=safetensors.numpy.load(training),
        state=sent["state"],
        description=Description(Path(sent["folder"]), config_yaml, vocab_json),
        digest=sent["digest"],
        warnings=tuple(sent["warnings"]),
    )
