"""Recompute an explanation from exported arrays, with NumPy and nothing of charrnn.

    python benchmarks/cells/a_network_explained.py explain runs/war-and-peace-lstm-64-seed0
    python benchmarks/cells/recompute_explanation.py explained/war-and-peace-lstm-64-seed0

The name stands for two files: the record (.json) and the arrays (.npz): ids, weights, the groups of
the terms, and which memories were exchanged. The text is read once from its beginning, character
by character in float64. Recomputed are one unit (its R² and the cost of its mean), one window of it,
and the curve. Printed are the figures of both, and the largest difference.

Shapes: N characters, H units, R rows, G groups of a term.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RIDGE = 1.0
"""Added to the counts of the regressions."""


def sigmoid(x: Any) -> Any:
    """Compute the logistic function."""
    return 1 / (1 + np.exp(-x))


class Network:
    """An lstm or a gru of one layer, and its output layer; the memory is c or h."""

    def __init__(self, arrays: Any, *, has_c: bool) -> None:
        """Take the weights of a run."""
        weights = {}
        for name in arrays.files:
            if name.startswith("weights_"):
                weights[name.rpartition(".")[2] if "l0" in name else name] = arrays[name]
        self.has_c = has_c
        self.w_hh = weights["weight_hh_l0"].astype(np.float64)
        self.b_hh = weights["bias_hh_l0"].astype(np.float64)
        w_ih = weights["weight_ih_l0"].astype(np.float64)
        vectors = weights.get("weights_embedding.weight", np.eye(w_ih.shape[1]))
        self.inputs = vectors.astype(np.float64) @ w_ih.T + weights["bias_ih_l0"]
        self.w_out = weights["weights_output.weight"].astype(np.float64)
        self.b_out = weights["weights_output.bias"].astype(np.float64)

    @property
    def num_units(self) -> int:
        """H."""
        return int(self.w_hh.shape[1])

    def step(self, ids: Any, h: Any, memory: Any, change: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Read ids (R,) from h and the memory (R, H); `change` gets the new memory."""
        product = h @ self.w_hh.T + self.b_hh
        if self.has_c:
            i, f, g, o = np.split(self.inputs[ids] + product, 4, axis=-1)
            memory = change(sigmoid(f) * memory + sigmoid(i) * np.tanh(g))
            return sigmoid(o) * np.tanh(memory), memory
        x_r, x_z, x_n = np.split(self.inputs[ids], 3, axis=-1)
        u_r, u_z, u_n = np.split(product, 3, axis=-1)
        z = sigmoid(x_z + u_z)
        new = (1 - z) * np.tanh(x_n + sigmoid(x_r + u_r) * u_n) + z * h
        return (change(new),) * 2

    def losses(self, h: Any, following: Any) -> Any:
        """Compute the losses (R,) of the following ids from h (R, H)."""
        logits = h @ self.w_out.T + self.b_out
        largest = logits.max(-1)
        log_sum = np.log(np.exp(logits - largest[:, None]).sum(-1)) + largest
        return log_sum - logits[np.arange(len(following)), following]


class Text:
    """The text, read once: the state before each of its characters, and what the sentences say."""

    def __init__(self, arrays: Any, network: Network, *, segment: int, warm_up: int) -> None:
        """Read the context and the text. Of a segment `segment` characters are measured, and
        `warm_up` before it are read with the same change."""
        self.network = network
        self.segment = segment
        self.warm_up = warm_up
        self.ids = arrays["ids"].astype(np.int64)
        self.first = int(arrays["first"])
        num_chars = len(self.ids) - self.first
        self.half = num_chars // 2
        self.h = np.zeros((num_chars + 1, network.num_units))
        self.memories = np.zeros_like(self.h)
        for position, id in enumerate(self.ids):
            place = max(0, position - self.first)
            state = network.step(id, self.h[place], self.memories[place], lambda memory: memory)
            after = max(0, position + 1 - self.first)
            self.h[after], self.memories[after] = state
        self.means = self.memories[1 : self.half + 1].mean(axis=0)

        self.said = np.tile(self.means, (num_chars, 1))
        groups = arrays["groups"].astype(np.int64)
        for unit, chosen in enumerate(arrays["chosen"]):
            terms = [index for index in chosen.tolist() if index >= 0]
            if terms:
                sizes = arrays["sizes"][terms]
                self.said[:, unit] += self._fit(groups[terms], sizes, unit)

    def _fit(self, groups: Any, sizes: Any, unit: int) -> Any:
        """Fit tables of the groups (terms, N) to a unit on the choosing half; predict (N,)."""
        columns = groups + (np.cumsum(sizes) - sizes)[:, None]
        fitted = columns[:, : self.half]
        counts = RIDGE * np.eye(sizes.sum())
        products = np.zeros(sizes.sum())
        target = self.memories[1 : self.half + 1, unit] - self.means[unit]
        for one in fitted:
            np.add.at(products, one, target)
            for other in fitted:
                np.add.at(counts, (one, other), 1)
        tables = np.linalg.solve(counts, products)
        return tables[columns].sum(axis=0)

    def read(self, begins: Any, change: Callable[[Any, Any], Any]) -> Any:
        """Return the losses (T, S) of segments; `change` maps positions (S,) and memories (S, H)."""
        h = self.h[begins - self.warm_up]
        memory = self.memories[begins - self.warm_up]
        losses = []
        for offset in range(-self.warm_up, self.segment):
            here = begins + offset
            ids = self.ids[self.first + here]
            h, memory = self.network.step(ids, h, memory, lambda new, at=here: change(at, new))
            if offset >= 0:
                losses.append(self.network.losses(h, self.ids[self.first + here + 1]))
        return np.array(losses)


def recompute(path: Path) -> Iterator[tuple[str, float, float]]:
    """Yield the name of each figure, as recorded and as recomputed."""
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    arrays = np.load(path.with_suffix(".npz"), allow_pickle=False)
    network = Network(arrays, has_c=record["cell"] == "lstm")
    text = Text(arrays, network, segment=record["segment"], warm_up=record["warm_up"])
    tested, scored = arrays["tested"], arrays["scored"]

    # One unit: the one that costs most if it is held at its mean.
    row = max(record["units"], key=lambda row: row["held"])
    unit = row["unit"]
    values = text.memories[1 + text.half :, unit]
    errors = ((values - text.said[text.half :, unit]) ** 2).sum()
    yield f"R² of unit {unit}", row["r2"], 1 - errors / ((values - values.mean()) ** 2).sum()

    def hold(_: Any, memory: Any) -> Any:
        memory[:, unit] = text.means[unit]
        return memory

    free = text.read(tested, lambda _, memory: memory)
    yield "held at its mean", row["held"], (text.read(tested, hold) - free).mean()

    # One window, on half as many segments.
    exchanged = arrays["exchanged"]
    some = scored[np.linspace(0, len(scored) - 1, len(tested) // 2).astype(int)]
    free = text.read(some, lambda _, memory: memory)
    for index, (name, window) in enumerate(record["windows"].items()):
        if name != "in the first five characters of a word":
            continue
        is_inside = arrays["is_window"][index]

        def exchange(here: Any, memory: Any, inside: Any = is_inside) -> Any:
            taken = inside[here]
            memory[taken, unit] = exchanged[here[taken], unit]
            return memory

        inside = is_inside[some[:, None] + np.arange(text.segment)].sum()
        rise = (text.read(some, exchange) - free).sum() / inside
        yield f"exchanged {name}", window["rises"][unit][0], rise

    # The curve.
    free = text.read(scored, lambda _, memory: memory).mean()
    yield "network", record["network"], free
    for size, loss, _ in record["curve"]:
        units = record["order"][:size]

        def replace(here: Any, _: Any, units: Any = units) -> Any:
            memory = np.tile(text.means, (len(here), 1))
            memory[:, units] = text.said[here][:, units]
            return memory

        yield f"{size} sentences", loss, text.read(scored, replace).mean()


def main() -> None:
    """Recompute the named explanations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("explained", nargs="+", type=Path, help="paths without their suffixes")
    for path in parser.parse_args().explained:
        print(path.name)
        differences = []
        for name, recorded, recomputed in recompute(path):
            print(f"  {name:50} {recorded:10.5f} {recomputed:10.5f}", flush=True)
            differences.append(abs(recorded - recomputed))
        print(f"  {'largest difference':50} {max(differences):10.5f}")


if __name__ == "__main__":
    main()
