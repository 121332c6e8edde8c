"""Recompute evidence cards from exported arrays, with NumPy and nothing of charrnn.

    python benchmarks/cells/evidence_cards.py cards.jsonl --case prose quote --arrays arrays
    python benchmarks/cells/recompute_card.py arrays/prose-quote arrays/code-string

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


Figures = dict[str, tuple[float, float]]
"""Each figure of a card, as recorded and as recomputed."""


class Card:
    """A recorded card and one reading of its text, which keeps every state.

    Shapes: N characters, H units, S segments, R rows.
    """

    def __init__(self, path: Path) -> None:
        """Read the text from its beginning; the context is read before it."""
        self.record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        arrays = np.load(path.with_suffix(".npz"), allow_pickle=False)
        self.lstm = Lstm(arrays)
        self.unit = self.record["unit"]
        self.labels = arrays["labels"]
        self.half = len(self.labels) // 2
        first = int(arrays["first"])
        context, self.ids = np.split(arrays["ids"].astype(np.int64), [first])
        written = arrays["characters"]
        self.chosen = np.isin(written, self.record["output"])
        self.after = np.flatnonzero(np.isin(written, self.record["output_after"]))

        # The sides of the labels: a count has a low and a high fifth.
        self.sides = np.where(self.labels, 1, -1)
        if self.labels.dtype != bool:
            low, high = np.percentile(self.labels, (20, 80))
            high = max(high, np.nextafter(low, np.inf))
            self.sides = (self.labels >= high).astype(int) - (self.labels <= low)

        self.h = np.zeros((len(self.ids) + 1, self.lstm.w_hh.shape[1]))
        self.c = np.zeros_like(self.h)
        for id in context:
            self.h[0], self.c[0] = self.lstm.step(id, self.h[0], self.c[0])
        for position, id in enumerate(self.ids):
            state = self.lstm.step(id, self.h[position], self.c[position])
            self.h[position + 1], self.c[position + 1] = state

        # Segments of the choosing half that charrnn reads: 16 of 2,048 characters.
        begins = np.linspace(0, self.half - 2048, min(16, self.half // 2048)).astype(int)
        places = (begins[:, None] + np.arange(2048)).ravel()
        self.means = self.c[places + 1].mean(axis=0)

    def odds(self, logits: Any) -> Any:
        """Compute the output from logits (..., V)."""
        odds = log_sum(logits[..., self.chosen]) - log_sum(logits[..., ~self.chosen])
        return self.record["output_sign"] * odds

    def held(self, windows: Any, units: list[int]) -> tuple[Any, Any, Any]:
        """Return losses, outputs and positions (T, S) of segments while units are held."""

        def change(memory: Any) -> Any:
            memory = memory.copy()
            memory[:, units] = self.means[units]
            return memory

        windows = np.array(windows)
        state = (self.h[windows], self.c[windows])
        losses = []
        odds = []
        for offset in range(WINDOW):
            state = self.lstm.step(self.ids[windows + offset], *state, change)
            logits = self.lstm.logits(state[0])
            following = self.ids[windows + offset + 1]
            losses.append(log_sum(logits) - logits[np.arange(len(windows)), following])
            odds.append(self.odds(logits))
        positions = windows + np.arange(RUNNING_IN, WINDOW)[:, None]
        return np.array(losses)[RUNNING_IN:], np.array(odds)[RUNNING_IN:], positions

    def tracks(self) -> Figures:
        """Score the cell on the scoring half."""
        tracks = self.record["tracks"]
        values = np.tanh(self.c[1 + self.half :, self.unit])
        labels = self.labels[self.half :]
        if labels.dtype == bool:
            return {"tracks": (tracks["auc"], auc(tracks["polarity"] * values, labels))}
        return {"tracks": (tracks["spearman"], rho(values, labels))}

    def necessary(self) -> Figures:
        """Hold the cell."""
        needed = self.record["necessary"]
        free, _, positions = self.held(needed["windows"], [])
        without, _, _ = self.held(needed["windows"], [self.unit])
        found = {}
        for name, side in (("inside", 1), ("outside", -1)):
            rise = (without - free)[self.sides[positions] == side].mean()
            found[f"necessary {name}"] = (needed[name], float(rise))
        return found

    def effect(self, units: list[int]) -> float:
        """Compute how much higher the output is inside than outside while units are held."""
        _, odds, positions = self.held(self.record["sufficient"]["windows"], units)
        total = 0.0
        weight = 0
        for id in self.after:
            here = self.ids[positions] == id
            inside = odds[here & (self.sides[positions] > 0)]
            outside = odds[here & (self.sides[positions] < 0)]
            both = min(len(inside), len(outside))
            if both:
                total += both * (inside.mean() - outside.mean())
                weight += both
        return total / max(1, weight)

    def sufficient(self) -> Figures:
        """Hold all followers but the first ones."""
        kept = self.record["sufficient"]
        followers = [one for _, one in kept["followers"]]
        whole = self.effect([])
        found = {"effect": (kept["effect"], whole)}
        for num_kept, share in kept["curve"]:
            expected = self.effect(followers[num_kept:]) / whole if whole > 0 else 0.0
            found[f"kept {num_kept}"] = (share, expected)
        return found

    def exchanged(self, rows: Any, taken: Any, lag: int) -> Any:
        """Return the output (R,) after rows whose memory is that of `taken` so many characters
        before."""

        def exchange(memory: Any) -> Any:
            memory = memory.copy()
            memory[:, self.unit] = self.c[taken - lag + 1, self.unit]
            return memory

        state = self.lstm.step(
            self.ids[rows - lag], self.h[rows - lag], self.c[rows - lag], exchange
        )
        for offset in range(1 - lag, 1):
            state = self.lstm.step(self.ids[rows + offset], *state)
        return self.odds(self.lstm.logits(state[0]))

    def interchange(self) -> Figures:
        """Exchange the memories of both directions of every pair at once."""
        moved = self.record["interchange"]
        rows = np.array(moved["pairs"]).T.ravel()
        partners = np.roll(rows, len(rows) // 2)
        before = self.exchanged(rows, rows, moved["lag"])
        changed = self.exchanged(rows, partners, moved["lag"])
        other = np.roll(before, len(rows) // 2)
        crosses = (changed - (before + other) / 2) * (other - before) > 0
        inside, outside = before.reshape(2, -1)
        differs = np.tile(inside > outside, 2)
        return {
            "pairs": (moved["num_pairs"], float(differs.sum() / 2)),
            "interchange": (moved["accuracy"], float(crosses[differs].mean())),
        }


def recompute(path: Path) -> Figures:
    """Recompute the figures of a card."""
    card = Card(path)
    return card.tracks() | card.necessary() | card.sufficient() | card.interchange()


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
