"""Test claims of others about the units of small recurrent networks, on the networks of
a_network_explained.py.

    python benchmarks/cells/claims_about_units.py runs/war-and-peace-lstm-64-seed* --out claims.json
    charrnn corpora make copy --length 17 --count 50000 > copy.txt
    charrnn train copy.txt --documents lines --cell gru --layers 1 --hidden-size 32 --seed 0 \\
        --steps 2000 --set num_members=1 --out runs/copy-gru-32-seed0
    python benchmarks/cells/claims_about_units.py runs/copy-gru-32-seed* --onion --out onion.json

`signs`: every tanh value is replaced by its sign times the mean size of the unit's values.
`few`: a fifth of the units is kept, everywhere or only in what the output layer reads, and the third
of the recurrent matrix with the largest weights.
`sparse`: of the values of all units, k are kept and the others are set to their means; beside it, k
features of a sparse autoencoder, of the principal components, and of a random rotation.
`--onion`: whether a gru keeps the characters of a word to copy in the same directions, by size.

Everything is fitted on the choosing half (the first half of what is read of the test part) and
measured on the scoring half. *Refitted* means that the output layer is fitted again.

Shapes: N characters, H units, F features, M measured characters.
"""

import argparse
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import charrnn
from benchmarks.cells.a_network_explained import Explanation, rounded
from benchmarks.cells.explained_reading import Change, replace_some
from charrnn.cells.trace import torch_ops
from charrnn.statistics.intervals import BlockSums

Floats = NDArray[np.floating[Any]]
SHARE_OF_UNITS, SHARE_OF_MATRIX = 1 / 5, 1 / 3
"""What the second claim keeps."""
NUMS_KEPT = (2, 4, 8, 16, 32)
"""Coordinates that are kept at each character."""
NUM_FEATURES = 256
"""F of the sparse autoencoder: four for each of 64 units."""
NUM_STEPS, BATCH = 1_500, 2_048
"""Steps of the autoencoder and of a refitted output layer, and their characters."""


class Claims:
    """The values of a network over the text, and the losses of what is changed."""

    def __init__(self, run: str) -> None:
        """Read the text once."""
        self.explanation = Explanation(charrnn.load(run))
        self.reader = self.explanation.reader
        self.network = self.reader.network
        self.half = self.explanation.half
        self.values, self.outputs = self.reader.traced()
        """(N, H) each: tanh(c) of an lstm or h of other cells; and h."""
        self.gates = np.divide(
            self.outputs, self.values, out=np.ones_like(self.values), where=self.values != 0
        )
        """(N, H): an output is the value times the output gate of an lstm, or the value itself."""
        self.following = torch.from_numpy(self.reader.ids[self.reader.first + 1 :])

    # --- losses

    def losses(
        self, outputs: Floats, layer: torch.nn.Linear | None = None, part: slice | None = None
    ) -> Floats:
        """Return the losses (M,) of a part, else of the scoring half, if the output layer reads
        outputs (N, H)."""
        layer = layer or self.network.output
        part = part or slice(self.half, len(outputs) - 1)
        with torch.inference_mode():
            logits = layer(torch.from_numpy(outputs[part].astype(np.float32)))
            losses = torch.nn.functional.cross_entropy(
                logits, self.following[part], reduction="none"
            )
        return losses.double().numpy()

    def refitted(self, outputs: Floats) -> torch.nn.Linear:
        """Fit the output layer again, to outputs (N, H) of the choosing half."""
        torch.manual_seed(0)
        layer = copy.deepcopy(self.network.output).requires_grad_(True)
        optimizer = torch.optim.Adam(layer.parameters(), lr=2e-3)
        generator = np.random.default_rng(0)
        read = torch.from_numpy(outputs[: self.half].astype(np.float32))
        for step in range(NUM_STEPS):
            optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / NUM_STEPS)
            taken = torch.from_numpy(generator.integers(self.half, size=BATCH))
            loss = torch.nn.functional.cross_entropy(layer(read[taken]), self.following[taken])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return layer

    def beside(self, losses: Floats, whole: Floats) -> dict[str, Any]:
        """Return the mean loss, and its difference from that of the whole with its interval."""
        difference = BlockSums.of(losses) - BlockSums.of(whole)
        return {
            "loss": float(losses.mean()),
            "difference": difference.mean,
            "interval": difference.interval(),
        }

    # --- the claims

    def signs(self) -> dict[str, Any]:
        """Replace values by signs: in what the output layer reads only, then everywhere."""
        sizes = np.abs(self.values[: self.half]).mean(axis=0)
        signs = np.where(self.values < 0, -1, 1) * sizes
        whole = self.losses(self.outputs)
        whole_refitted = self.losses(self.outputs, self.refitted(self.outputs))
        signed = self.gates * signs
        refitted = self.losses(signed, self.refitted(signed))

        # Everywhere: the recurrence gets the signs, too.
        begins = self.explanation.begins(1, self.explanation.sizes.num_tested)
        free = self.explanation.losses(begins)[0]
        everywhere = self._signed_everywhere(begins, torch.from_numpy(sizes))
        return {
            "mean size": float(sizes.mean()),
            "read by the output layer": self.beside(self.losses(signed), whole),
            "read by a refitted output layer": self.beside(refitted, whole_refitted),
            "everywhere": self.beside(everywhere, free),
        }

    def _signed_everywhere(self, begins: Any, sizes: torch.Tensor) -> Floats:
        """Return the losses (M,) of segments with the sign of each value in its place."""
        scale = sizes.float()

        def sign(value: torch.Tensor) -> torch.Tensor:
            return torch.where(value < 0, -scale, scale)

        if self.explanation.model.config.cell != "lstm":
            return self.explanation.losses(begins, lambda _, memory: sign(memory))[0]

        # The second tanh of a step of an lstm is that of c; c itself is kept as it is.
        turns = cycle((torch.tanh, sign))
        ops = {0: replace(torch_ops(), tanh=lambda value: next(turns)(value))}
        return self._losses_of(_WithOps(self.network, ops), begins)

    def _losses_of(self, network: Any, begins: Any, change: Change | None = None) -> Floats:
        """Return the losses (M,) of segments that another network reads."""
        other = copy.copy(self.explanation)
        other.reader = copy.copy(self.reader)
        other.reader.network = network
        return other.losses(begins, change)[0]

    def few(self) -> dict[str, Any]:
        """Keep a fifth of the units and a third of the recurrent matrix."""
        explanation = self.explanation
        num_units = explanation.num_units
        chosen = explanation.begins(0, explanation.sizes.num_tested // 2)
        begins = explanation.begins(1, explanation.sizes.num_tested)
        free = self.explanation.losses(begins)[0]

        # The units whose means cost most on the choosing half are kept.
        each = np.eye(num_units, dtype=bool)
        change = replace_some(explanation.means, each)
        costs = explanation.losses(chosen, change, num_units).mean(axis=1)
        num_kept = round(SHARE_OF_UNITS * num_units)
        is_held = np.ones((1, num_units), bool)
        is_held[0, np.argsort(-costs)[:num_kept]] = False
        hold = replace_some(explanation.means, is_held)

        pruned = copy.deepcopy(self.network)
        weight = pruned.recurrent_layers()[0].weight("hh")
        least = torch.quantile(weight.abs().flatten(), 1 - SHARE_OF_MATRIX)
        with torch.no_grad():
            weight.mul_(weight.abs() >= least)
        return {
            "units": self.beside(explanation.losses(begins, hold)[0], free),
            "matrix": self.beside(self._losses_of(pruned, begins), free),
            "both": self.beside(self._losses_of(pruned, begins, hold), free),
            "units that are read": self.beside(self._read_few(num_kept), self.losses(self.outputs)),
            "num_kept": num_kept,
        }

    def _read_few(self, num_kept: int) -> Floats:
        """Return the losses (M,) if the output layer reads only the units without which its loss on
        the choosing half rises most, and zeros of all others."""
        costs = []
        for unit in range(self.outputs.shape[1]):
            without = self.outputs.copy()
            without[:, unit] = 0
            costs.append(self.losses(without, part=slice(self.half)).mean())
        kept = np.zeros_like(self.outputs)
        best = np.argsort(-np.array(costs))[:num_kept]
        kept[:, best] = self.outputs[:, best]
        return self.losses(kept)

    def sparse(self) -> dict[str, Any]:
        """Keep k coordinates of the values at each character, in several bases."""
        means = self.values[: self.half].mean(axis=0)
        centred = self.values - means
        _, _, components = np.linalg.svd(centred[: self.half], full_matrices=False)
        generator = np.random.default_rng(0)
        rotation, _ = np.linalg.qr(generator.normal(size=(centred.shape[1],) * 2))
        bases = {
            "units": np.eye(centred.shape[1]),
            "principal components": components,
            "a random rotation": rotation,
        }
        whole = self.losses(self.outputs)
        found: dict[str, Any] = {name: {} for name in (*bases, "sparse autoencoder")}
        for number in NUMS_KEPT:
            for name, basis in bases.items():
                kept = keep_largest(centred @ basis.T, number) @ basis
                found[name][number] = self.beside(self.losses(self.gates * (means + kept)), whole)
            features = Autoencoder(torch.from_numpy(centred[: self.half]), number)
            kept = features.reconstruct(torch.from_numpy(centred)).numpy()
            found["sparse autoencoder"][number] = self.beside(
                self.losses(self.gates * (means + kept)), whole
            )
        return found


class _WithOps:
    """A network that always computes with other functions."""

    def __init__(self, network: Any, ops: dict[int, Any]) -> None:
        self.network = network
        self.initial_state = network.initial_state
        self.ops = ops

    def __call__(self, ids: Any, state: Any, ops: Any = None) -> Any:
        """Compute as the network does."""
        return self.network(ids, state, ops=self.ops)


def keep_largest(values: Floats, number: int) -> Floats:
    """Set all but the `number` largest values of each row to 0, by size."""
    if number >= values.shape[1]:
        return values
    least = np.partition(np.abs(values), -number, axis=1)[:, [-number]]
    return np.where(np.abs(values) >= least, values, 0)


class Autoencoder:
    """A sparse autoencoder that keeps the k largest of F features (Gao et al. 2024)."""

    def __init__(self, values: torch.Tensor, number: int) -> None:
        """Fit it to values (n, H) with mean 0."""
        torch.manual_seed(0)
        self.number = number
        num_units = values.shape[1]
        self.decoder = torch.nn.functional.normalize(torch.randn(NUM_FEATURES, num_units), dim=1)
        self.encoder = self.decoder.T.clone().requires_grad_(True)
        self.bias = torch.zeros(NUM_FEATURES, requires_grad=True)
        self.decoder.requires_grad_(True)
        optimizer = torch.optim.Adam([self.encoder, self.bias, self.decoder], lr=2e-3)
        generator = np.random.default_rng(0)
        for step in range(NUM_STEPS):
            optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / NUM_STEPS)
            taken = values[torch.from_numpy(generator.integers(len(values), size=BATCH))]
            loss = ((self._decode(taken) - taken) ** 2).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _decode(self, values: torch.Tensor) -> torch.Tensor:
        features = torch.relu(values @ self.encoder + self.bias)
        kept = torch.topk(features, self.number, dim=1)
        return torch.zeros_like(features).scatter(1, kept.indices, kept.values) @ self.decoder

    def reconstruct(self, values: torch.Tensor) -> torch.Tensor:
        """Reconstruct values (n, H) from k features each."""
        with torch.inference_mode():
            return torch.cat([self._decode(some) for some in values.split(16_384)])


LENGTH = 8
"""Characters of the words that the onion is looked for in."""


def onion(run: str) -> dict[str, Any]:
    """Fit h after the word of a copying task by vectors of position and character.

    In an onion, the vectors of a character at all positions have the same direction and other
    lengths: the first principal component of the differences has all of their variance.
    """
    model = charrnn.load(run)
    network = model.network
    generator = np.random.default_rng(1)
    letters = np.array(["a", "b", "c", "d"])
    words = generator.integers(4, size=(8_192, LENGTH))
    texts = ["".join(letters[word]) for word in words]
    ids = np.array([model.vocab.encode(f"{word}={word}") for word in texts]).astype(np.int64)
    with torch.inference_mode():
        end = torch.full((1, len(ids)), network.end_id)
        _, state = network(end, network.initial_state(len(ids)))
        (logits, cells, _), _ = network.trace(torch.from_numpy(ids.T), state)
    guesses = logits[LENGTH:-1].argmax(-1).numpy().T
    accuracy = float((guesses == ids[:, LENGTH + 1 :]).mean())

    # h after "=", on one-hot vectors of each position.
    states = cells[LENGTH, :, 0].double().numpy()
    one_hot = np.eye(4)[words].reshape(len(words), -1)
    half = len(words) // 2
    centre = states[:half].mean(axis=0)
    tables = np.linalg.lstsq(one_hot[:half] - 0.25, states[:half] - centre, rcond=None)[0]
    errors = states[half:] - centre - (one_hot[half:] - 0.25) @ tables
    score = 1 - float((errors**2).sum() / ((states[half:] - centre) ** 2).sum())

    # For each character, how parallel its vectors at the positions are.
    vectors = tables.reshape(LENGTH, 4, -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    shares = []
    cosines = []
    for character in range(4):
        of_character = vectors[:, character]
        sizes = np.linalg.svd(of_character, compute_uv=False) ** 2
        shares.append(sizes[0] / sizes.sum())
        units = of_character / np.linalg.norm(of_character, axis=1, keepdims=True)
        products = np.abs(units @ units.T)
        cosines.append((products.sum() - LENGTH) / (LENGTH * (LENGTH - 1)))
    lengths = np.linalg.norm(vectors, axis=2).mean(axis=1)
    return {
        "accuracy": accuracy,
        "r2": score,
        "first_component": float(np.mean(shares)),
        "mean_cosine": float(np.mean(cosines)),
        "lengths": lengths.tolist(),
    }


def measured(runs: list[str], *, is_onion: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each run and what is found in it."""
    for run in runs:
        if is_onion:
            yield run, onion(run)
            continue
        claims = Claims(run)
        yield run, {"signs": claims.signs(), "few": claims.few(), "sparse": claims.sparse()}


def main() -> None:
    """Measure the runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--onion", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = {}
    for run, of_run in measured(given.runs, is_onion=given.onion):
        found[Path(run).name] = rounded(of_run)
        print(Path(run).name, json.dumps(found[Path(run).name]), flush=True)
        given.out.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
