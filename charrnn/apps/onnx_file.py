"""A model in one .onnx file: the graph, the alphabet as metadata, and a check in onnxruntime.

Needs the package onnx; the check needs onnxruntime (both: extra `onnx`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.apps.export_records import OnnxCheck
from charrnn.config import Config, resolved
from charrnn.errors import CharRNNError, UsageError
from charrnn.model.stepper import Stepper
from charrnn.text.vocab import Vocab
from charrnn.version import __version__

SUFFIX = ".onnx"
"""Suffix of the file."""
MAX_BYTES = 2_000_000_000
"""Most bytes of weights: protobuf, the format of the file, ends at 2 GiB."""
CHECKED_CHARS = 1_000
"""Characters that the check reads."""
TOLERANCE = 1e-4
"""Allowed difference after one character, as a share of the largest value: a hundred times the rounding of float32
products with 1,000 terms, and far less than what a wrong weight makes."""


def onnx_to_bytes(
    config: Config,
    vocab: Vocab,
    tensors: Mapping[str, NDArray[Any]],
    *,
    name: str,
    step: int,
    val_nats: float | None,
) -> bytes:
    """Return the content of an .onnx file. The same model gives the same bytes.

    Raises UsageError for a model that is too large for the format, and as `onnx_graph`.
    """
    from onnx import helper

    from charrnn.apps.onnx_graph import IR_VERSION, OPSET, onnx_graph

    num_bytes = 4 * sum(array.size for array in tensors.values())
    if num_bytes > MAX_BYTES:
        raise UsageError(
            f"The weights take {num_bytes:,} bytes; a {SUFFIX} file can hold {MAX_BYTES:,}. Export a .zip instead."
        )
    model = helper.make_model(
        onnx_graph(config, tensors),
        producer_name="charrnn",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        doc_string="A character-level recurrent language model. docs/onnx.md of charrnn explains inputs and metadata.",
    )
    helper.set_model_props(model, metadata(config, vocab, tensors, name=name, step=step, val_nats=val_nats))
    return bytes(model.SerializeToString(deterministic=True))


def metadata(
    config: Config,
    vocab: Vocab,
    tensors: Mapping[str, NDArray[Any]],
    *,
    name: str,
    step: int,
    val_nats: float | None,
) -> dict[str, str]:
    """Return the metadata of the file: strings by name, among them no path and no text."""
    found = {
        "charrnn": __version__,
        "name": name,
        "alphabet": json.dumps(vocab.to_json(), ensure_ascii=True),
        "cell": config.cell,
        "depth": config.depth,
        "layers": str(resolved(config.num_layers)),
        "units": str(resolved(config.hidden_size)),
        "step": str(step),
    }
    if val_nats is not None:
        found |= {"val_nats": repr(val_nats), "val_bpc": repr(val_nats / math.log(2))}
    if config.end_id is not None:
        found["end_id"] = str(config.end_id)
    if "learned_state" in tensors:
        found["initial_state"] = json.dumps(tensors["learned_state"].astype(float).tolist())
    return found


def check_onnx(content: bytes | Path, stepper: Stepper, ids: NDArray[Any]) -> OnnxCheck | None:
    """Compare a file, or its content, in onnxruntime with the model over ids (N,); None without onnxruntime.

    Each character is read twice: from the state that the model has before it, where the results must agree, and in one
    call for all characters, whose largest difference is returned. Raises CharRNNError where they do not agree.
    """
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime  # type: ignore[import-untyped]

    source = content if isinstance(content, bytes) else str(content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads wait for each other at every character
    options.log_severity_level = 3  # errors only: its warnings are about speed
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    ids = ids.astype(np.int64)
    initial = state = stepper.initial_state(1)
    expected = np.empty((len(ids), stepper.vocab_size), np.float32)
    for place, char in enumerate(ids):
        found = session.run(None, {"ids": np.array([[char]]), "state": state})
        logits, state = stepper.step(np.array([char]), state)
        expected[place] = logits[0]
        for one, other in zip(found, (logits[:, None], state), strict=True):
            _check_close(one, other, place)
    carried, _ = session.run(None, {"ids": ids[None], "state": initial})
    return OnnxCheck(num_chars=len(ids), max_difference=float(np.abs(carried[0] - expected).max()))


def _check_close(found: NDArray[np.float32], expected: NDArray[np.float32], place: int) -> None:
    """Raise CharRNNError unless both are the same up to rounding."""
    difference, largest = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(1.0, largest):  # also for nan
        raise CharRNNError(
            f"onnxruntime computes something else than the model at character {place}: a difference of "
            f"{difference:.2g}, where {TOLERANCE:g} of {largest:.2g} is allowed.\nNothing was written. Update "
            "onnxruntime, or export a .zip."
        )
