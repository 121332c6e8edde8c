"""Recompute evidence cards from exported arrays, with NumPy and nothing of charrnn.

    python benchmarks/evidence_cards.py cards.jsonl --case prose quote --arrays arrays
    python benchmarks/recompute_card.py arrays/prose-quote arrays/code-string

Each name stands for two files: the record (.json), whose positions are taken, and the arrays (.npz):
the ids, the labels and the weights of an LSTM with one layer. The text is read once from its
beginning, character by character in float64; charrnn reads it in segments and float32. Printed are
the figures of both, and the largest difference.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 256
"""Characters of a segment that is read with held memories."""
RUNNING_IN = 64
"""The first of these, which are not measured."""


def sigmoid(x: Any) -> Any:
    """Compute the logistic function."""
    return 1 / (1 + np.exp(-x))


class Lstm:
    """An LSTM of one layer that reads rows of characters side by side."""

    def __init__(self, arrays: Any) -> None:
        """Take the weights of a run, whose matrices may be integers with a scale for each row."""
        weights = {}
        for name in arrays.files:
            if name.startswith("weights_") and not name.endswith("scale"):
                weights[name.removeprefix("weights_")] = arrays[name].astype(np.float64)
        recurrent = {name.rpartition(".")[2]: one for name, one in weights.items() if "l0" in name}
        self.w_hh = recurrent["weight_hh_l0"]
        self.bias = recurrent["bias_ih_l0"] + recurrent["bias_hh_l0"]
        vectors = weights.get("embedding.weight", np.eye(recurrent["weight_ih_l0"].shape[1]))
        self.inputs = vectors @ recurrent["weight_ih_l0"].T + self.bias
        self.w_out = weights["output.weight"]
        self.b_out = weights["output.bias"]

    def step(self, ids: Any, h: Any, c: Any, change: Any = None) -> tuple[Any, Any]:
        """Read ids (R,) from h and c (R, H); `change` gets the new c."""
        gates = self.inputs[ids] + h @ self.w_hh.T
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        if change is not None:
            c = change(c)
        return sigmoid(o) * np.tanh(c), c

    def logits(self, h: Any) -> Any:
        """Compute logits (R, V)."""
        return h @ self.w_out.T + self.b_out


def log_sum(x: Any) -> Any:
    """Compute the logarithm of the sum of exponentials along the last axis."""
    largest = x.max(-1, keepdims=True)
    return np.log(np.exp(x - largest).sum(-1)) + largest[..., 0]


def auc(values: Any, labels: Any) -> float:
    """Compute the share of pairs in which a value inside is above one outside."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    inside = int(labels.sum())
    u = ranks[labels].sum() - inside * (inside + 1) / 2
    return float(u / (inside * (len(labels) - inside)))


def rho(values: Any, counts: Any) -> float:
    """Compute Spearman's rank correlation."""
    ranks = []
    for one in (values, counts):
        _, group, sizes = np.unique(one, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(sizes) - (sizes - 1) / 2)[group])
    return float(np.corrcoef(*ranks)[0, 1])


def recompute(path: Path) -> dict[str, tuple[float, float]]:
    """Return each figure of a card, as recorded and as recomputed."""
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    arrays = np.load(path.with_suffix(".npz"), allow_pickle=False)
    lstm = Lstm(arrays)
    first = int(arrays["first"])
    ids = arrays["ids"].astype(np.int64)
    labels = arrays["labels"]
    num_chars = len(labels)
    half = num_chars // 2
    unit = card["unit"]
    text_ids = ids[first:]
    written = arrays["characters"]
    chosen = np.isin(written, card["output"])
    after = np.flatnonzero(np.isin(written, card["output_after"]))
    sign = card["output_sign"]

    # The sides of the labels: a count has a low and a high fifth.
    sides = np.where(labels, 1, -1)
    if labels.dtype != bool:
        low, high = np.percentile(labels, (20, 80))
        high = max(high, np.nextafter(low, np.inf))
        sides = (labels >= high).astype(int) - (labels <= low)

    def odds_of(logits: Any) -> Any:
        return sign * (log_sum(logits[..., chosen]) - log_sum(logits[..., ~chosen]))

    # One reading, which keeps every state; the context is read before it.
    size = lstm.w_hh.shape[1]
    h = np.zeros((num_chars + 1, size))
    c = np.zeros((num_chars + 1, size))
    for id in ids[:first]:
        h[0], c[0] = lstm.step(id, h[0], c[0])
    for position in range(num_chars):
        h[position + 1], c[position + 1] = lstm.step(text_ids[position], h[position], c[position])
    values = np.tanh(c[1:, unit])
    found = {}

    tracks = card["tracks"]
    scoring = slice(half, None)
    if labels.dtype == bool:
        reached = auc(tracks["polarity"] * values[scoring], labels[scoring])
        found["tracks"] = (tracks["auc"], reached)
    else:
        found["tracks"] = (tracks["spearman"], rho(values[scoring], labels[scoring]))

    # Segments of the choosing half that charrnn reads: 16 of 2,048 characters.
    begins = np.linspace(0, half - 2048, min(16, half // 2048)).astype(int)
    places = (begins[:, None] + np.arange(2048)).ravel()
    means = c[places + 1].mean(axis=0)

    def held(windows: Any, units: list[int]) -> tuple[Any, Any, Any]:
        def change(memory: Any) -> Any:
            memory = memory.copy()
            memory[:, units] = means[units]
            return memory

        windows = np.array(windows)
        state = (h[windows], c[windows])
        losses = []
        odds = []
        for offset in range(WINDOW):
            state = lstm.step(text_ids[windows + offset], *state, change)
            logits = lstm.logits(state[0])
            following = ids[first + windows + offset + 1]
            losses.append(log_sum(logits) - logits[np.arange(len(windows)), following])
            odds.append(odds_of(logits))
        positions = windows + np.arange(RUNNING_IN, WINDOW)[:, None]
        return np.array(losses)[RUNNING_IN:], np.array(odds)[RUNNING_IN:], positions

    needed = card["necessary"]
    free, _, positions = held(needed["windows"], [])
    without, _, _ = held(needed["windows"], [unit])
    for name, side in (("inside", 1), ("outside", -1)):
        rise = (without - free)[sides[positions] == side].mean()
        found[f"necessary {name}"] = (needed[name], float(rise))

    def effect(units: list[int]) -> float:
        _, odds, positions = held(kept["windows"], units)
        total = 0.0
        weight = 0
        for id in after:
            here = text_ids[positions] == id
            inside = odds[here & (sides[positions] > 0)]
            outside = odds[here & (sides[positions] < 0)]
            both = min(len(inside), len(outside))
            if both:
                total += both * (inside.mean() - outside.mean())
                weight += both
        return total / max(1, weight)

    kept = card["sufficient"]
    followers = [one for _, one in kept["followers"]]
    whole = effect([])
    found["effect"] = (kept["effect"], whole)
    for num_kept, share in kept["curve"]:
        expected = effect(followers[num_kept:]) / whole if whole > 0 else 0.0
        found[f"kept {num_kept}"] = (share, expected)

    # Both directions of every pair at once.
    moved = card["interchange"]
    lag = moved["lag"]
    rows = np.array(moved["pairs"]).T.ravel()
    partners = np.roll(rows, len(rows) // 2)
    outputs = []
    for taken in (rows, partners):
        state = (h[rows - lag], c[rows - lag])
        for offset in range(-lag, 1):

            def exchange(memory: Any, taken: Any = taken) -> Any:
                memory = memory.copy()
                memory[:, unit] = c[taken - lag + 1, unit]
                return memory

            change = exchange if offset == -lag else None
            state = lstm.step(text_ids[rows + offset], *state, change)
        outputs.append(odds_of(lstm.logits(state[0])))
    before, changed = outputs
    other = np.roll(before, len(rows) // 2)
    crosses = (changed - (before + other) / 2) * (other - before) > 0
    inside, outside = before.reshape(2, -1)
    differs = np.tile(inside > outside, 2)
    found["pairs"] = (moved["num_pairs"], float(differs.sum() / 2))
    found["interchange"] = (moved["accuracy"], float(crosses[differs].mean()))
    return found


def main() -> None:
    """Recompute the named cards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cards", nargs="+", type=Path, help="paths without their suffixes")
    for path in parser.parse_args().cards:
        print(path.name)
        differences = []
        for name, (recorded, recomputed) in recompute(path).items():
            print(f"  {name:20} {recorded:12.5f} {recomputed:12.5f}")
            if name != "pairs":
                differences.append(abs(recorded - recomputed))
        print(f"  largest difference   {max(differences):12.5f}")


if __name__ == "__main__":
    main()
