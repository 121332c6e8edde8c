"""Say in a sentence what every unit of a small network follows, test each sentence, and measure how
much of the loss the sentences carry.

    python benchmarks/cells/a_network_explained.py text generated.txt
    charrnn train war-and-peace.txt --split 80/10/10 --cell lstm --layers 1 --hidden-size 64 \\
        --steps 3000 --seed 0 --set num_members=1 --set precision=fp32 --out runs/a
    python benchmarks/cells/a_network_explained.py explain runs/a
    python benchmarks/cells/a_network_explained.py cards runs/a
    python benchmarks/cells/a_network_explained.py halves runs/a
    python benchmarks/cells/a_network_explained.py table explained/a.json
    python benchmarks/cells/a_network_explained.py table benchmarks/records/2026-11-28-network-explained/a-network-explained.jsonl

The text is the first 131,072 characters of the test part, by which nothing was chosen before. Its
first half chooses and fits, its second half scores. The memory of a unit is c of an lstm and h of
other cells. To replace it means: after every character the unit's memory is set to another value,
and the network computes on with it, so that the output gate and all later gates get what follows
from it.

`explain` writes one JSON file for each run, and the arrays that `recompute_explanation.py` reads.
The records of docs/understand/a-network-explained.md are in benchmarks/records/2026-11-28-network-explained.

Shapes: N characters, H units, V characters of the alphabet, C conditions, S segments, G groups of a
term, D groups of all terms.
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import charrnn
from benchmarks.cells.explained_reading import Change, Reader, replace_all, replace_some
from benchmarks.cells.explained_sentences import (
    MAX_TERMS,
    NUM_LAGS,
    Floats,
    Interval,
    Ints,
    Regression,
    Term,
    as_written,
    in_words,
    make_terms,
    r_squared,
    r_squared_interval,
    rule_terms,
    shown,
    usable_detectors,
)
from charrnn.api import Model
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS
from charrnn.model_study import ModelStudy
from charrnn.ngrams.kneser_ney import fit_ngrams
from charrnn.statistics.chance import draw_shifts
from charrnn.statistics.intervals import BlockSums, estimate, interval_of, resample_sums


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    num_chars: int = 131_072
    """N: characters of the test part."""
    segment: int = 2_048
    """Characters of a segment that are measured."""
    warm_up: int = 512
    """Characters before a segment that are read with the same change."""
    num_tested: int = 16
    """Segments of the scoring half on which each unit is tested; its windows on half of them."""
    short_segment: int = 256
    """Characters of a segment by which the units are put in order."""
    short_warm_up: int = 64
    """Those before it: where all memories are replaced, only a gate remembers."""
    num_ordering: int = 12
    """Segments of the choosing half by which the units are put in order."""


CURVE = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)
"""Numbers of units of the curve, at most; that of the units that passed is added."""
MIN_SCORE = 0.1
"""The least R² of a sentence on the scoring half, as in `visualize --describe`."""
NUM_BINS = 50
"""Groups of positions for which a sentence says about the same: memories are exchanged within."""

VOWELS, CONSONANTS = "aeiou", "bdfghklmnprstvz"
LINE_WIDTH = 60


def make_text(num_chars: int, *, seed: int = 0) -> str:
    """Write sentences of invented words with quotations, nested brackets and wrapped lines."""
    draw = random.Random(seed)
    words: dict[bool, list[str]] = {}
    for is_quoted in (False, True):
        words[is_quoted] = []
        for length in (1, 2, 3):
            for _ in range(12):
                syllables = [draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(length)]
                words[is_quoted].append("".join(syllables))
    lines = [""]
    size = 0
    while size < num_chars:
        for token in _sentence(draw, words):
            if lines[-1] and len(lines[-1]) + 1 + len(token) > LINE_WIDTH:
                size += len(lines[-1]) + 1
                lines.append(token)
            else:
                lines[-1] = f"{lines[-1]} {token}".lstrip()
    return "\n".join(lines) + "\n"


def _sentence(draw: random.Random, words: dict[bool, list[str]]) -> list[str]:
    """Draw the words of a sentence, with their quotation marks and brackets."""
    tokens = []
    depth = 0
    is_quoted = False
    num_left = draw.randint(4, 16)
    while num_left > 0 or depth > 0 or is_quoted:
        num_left -= 1
        token = ""
        if num_left > 0 and depth < 3 and not is_quoted and draw.random() < 0.15:
            token += "("
            depth += 1
        if num_left > 0 and not is_quoted and draw.random() < 0.15:
            token += '"'
            is_quoted = True
        token += draw.choice(words[is_quoted])
        if is_quoted and draw.random() < 0.25:
            token += '"'
            is_quoted = False
        while depth > 0 and not is_quoted and draw.random() < 0.25:
            token += ")"
            depth -= 1
        tokens.append(token)
    tokens[-1] += "."
    return tokens


@dataclass(eq=False)
class Explanation:
    """A network, the text that explains it, and everything that is measured about both."""

    model: Model
    sizes: Sizes = Sizes()

    def __post_init__(self) -> None:
        part = self.model.held_out("test")
        self.study: ModelStudy = self.model.study(
            part[: self.sizes.num_chars], context=part.context
        )
        text = self.study.text
        self.ids = text.ids.astype(np.int64)
        self.half = self.study.half
        self.detectors = usable_detectors(text.text)
        self.terms = make_terms(self.model, self.ids, text.first, text.text)
        self.reader = Reader(self.model, self.ids, text.first)
        self.num_units = self.study.num_units
        self.units = list(range(self.num_units))

    @cached_property
    def memories(self) -> Floats:
        """(N, H)."""
        return self.reader.memories()

    @cached_property
    def means(self) -> Floats:
        """(N, H): the mean of each memory over the choosing half, at every character."""
        return np.tile(self.memories[: self.half].mean(axis=0), (len(self.memories), 1))

    def begins(self, half: int, count: int = 0, *, length: int = 0) -> Ints:
        """Return where the segments of a half (0: choosing, 1: scoring) begin; spread evenly if
        only `count` are wanted."""
        length = length or self.sizes.segment
        begins = half * self.half + np.arange(0, self.half - length, length)
        begins = begins[begins >= self.sizes.warm_up]
        if count:
            begins = begins[np.linspace(0, len(begins) - 1, count).astype(int)]
        return begins

    def losses(self, begins: Ints, change: Change | None = None, num_conditions: int = 1) -> Floats:
        """Return the losses of segments (C, M) while memories are changed."""
        losses = self.reader.losses(
            begins,
            change,
            num_conditions=num_conditions,
            length=self.sizes.segment,
            warm_up=self.sizes.warm_up,
        )
        return losses.reshape(num_conditions, -1)

    @cached_property
    def rules(self) -> list[Term | None]:
        """The rule of each unit."""
        return rule_terms(self.study, self.detectors)

    @cached_property
    def regression(self) -> Regression:
        """The regression on all terms; the rules come last."""
        rules = [rule for rule in self.rules if rule is not None]
        return Regression([*self.terms, *rules], self.memories, slice(self.half))

    @cached_property
    def chosen(self) -> list[list[int]]:
        """The terms of the sentence of each unit."""
        chosen = []
        number = len(self.terms)
        for unit, rule in enumerate(self.rules):
            candidates = list(range(len(self.terms)))
            if rule is not None:
                candidates.append(number)
                number += 1
            chosen.append(self.regression.choose(unit, candidates))
        return chosen

    @cached_property
    def said(self) -> Floats:
        """(N, H): the memory that the sentence of each unit predicts; its mean without one."""
        return self.regression.predict_each(self.chosen)

    def fitted_terms(self, unit: int) -> Iterator[tuple[Term, Floats, Floats]]:
        """Yield each term of a unit's sentence, the values (G,) of its G groups, and how often each
        group occurs in the choosing half (G,)."""
        tables, _ = self.regression.fit(self.chosen[unit], [unit])
        begin = 0
        for index in self.chosen[unit]:
            term = self.regression.terms[index]
            size = len(term.names)
            counts = np.bincount(term.groups[: self.half], minlength=size).astype(np.float64)
            yield term, tables[begin : begin + size, 0], counts
            begin += size

    @cached_property
    def written(self) -> Floats:
        """(N, H): what the sentences predict as they are written: of each table of characters only
        which are named as high, which as low, and the mean of each of these groups and the rest."""
        written = self.means.copy()
        for unit, chosen in enumerate(self.chosen):
            if not chosen:
                continue
            terms = [as_written(*fitted) for fitted in self.fitted_terms(unit)]
            small = Regression(terms, self.memories[:, [unit]], slice(self.half))
            written[:, unit] = small.predict(range(len(terms)), [0])[:, 0]
        return written

    def control_level(self) -> float:
        """Return the R² that 95 % of the sentences stay below which are chosen for the memories of
        all units shifted along the text."""
        shifted = np.empty_like(self.memories)
        for unit in self.units:
            shift = int(draw_shifts(len(shifted), size=1, seed=(unit, 0))[0])
            shifted[:, unit] = np.roll(self.memories[:, unit], shift)
        return float(np.quantile(self._scores_of(shifted), 0.95))

    def untrained_scores(self) -> list[float]:
        """Return R² of the sentences of an untrained network, which are chosen in the same way."""
        twin = Reader(self.model, self.ids, self.study.text.first)
        twin.network = self.model.untrained_baseline()
        return self._scores_of(twin.memories())

    def _scores_of(self, values: Floats) -> list[float]:
        """Choose sentences for values (N, H) without rules; return their R² on the scoring half."""
        regression = Regression(self.terms, values, slice(self.half))
        candidates = range(len(self.terms))
        predicted = regression.predict_each(
            [regression.choose(unit, candidates) for unit in self.units]
        )
        scored = slice(self.half, None)
        return [r_squared(values[scored, unit], predicted[scored, unit]) for unit in self.units]

    def exchanged(self, *, within: bool) -> Floats:
        """Return memories (N, H) of other characters: of any of the same half, or of one for which
        the unit's sentence says about the same."""
        generator = np.random.default_rng(0)
        taken = np.empty_like(self.memories)
        for part in (slice(self.half), slice(self.half, None)):
            own = self.memories[part]
            for unit in self.units:
                bins = np.zeros(len(own), np.int64)
                if within:
                    said = self.said[part, unit]
                    different = np.unique(said)
                    if len(different) > NUM_BINS:
                        different = np.quantile(said, np.arange(NUM_BINS) / NUM_BINS)
                    bins = np.searchsorted(different, said, side="right")
                # Within each group of positions, all memories are shuffled.
                order = np.lexsort((generator.random(len(own)), bins))
                places = np.lexsort((generator.random(len(own)), bins))
                taken[part.start or 0 :][places, unit] = own[order, unit]
        return taken

    # --- the tests of the sentences

    def tests(self) -> list[dict[str, Any]]:
        """Test the sentence of every unit on the scoring half."""
        level = self.control_level()
        twins = self._twin_gains()
        begins = self.begins(1, self.sizes.num_tested)
        each = np.eye(self.num_units, dtype=bool)
        free = self.losses(begins)[0]
        rises = {}
        for name, table in (
            ("held", self.means),
            ("any", self.exchanged(within=False)),
            ("same", self.exchanged(within=True)),
        ):
            change = replace_some(table, each)
            rises[name] = self.losses(begins, change, self.num_units) - free

        rows = []
        for unit in self.units:
            chosen = self.chosen[unit]
            values = self.memories[self.half :, unit].astype(np.float64)
            said = self.said[self.half :, unit]
            score = r_squared(values, said) if chosen else 0.0
            low, high = r_squared_interval(values, said) if chosen else (0.0, 0.0)
            held = BlockSums.of(rises["held"][unit])
            saved = BlockSums.of(rises["any"][unit] - rises["same"][unit])
            harm = float(rises["any"][unit].mean())
            tests = {
                "described": bool(chosen) and low > 0 and score >= MIN_SCORE,
                "above chance": score > level,
                "above the untrained twin": twins[unit] > 0,
                "necessary": (held.interval() or (0, 0))[0] > 0,
                "exchangeable": (saved.interval() or (0, 0))[0] > 0,
            }
            rows.append(
                {
                    "unit": unit,
                    "sentence": self.sentence(unit),
                    "terms": [self.regression.terms[index].name for index in chosen],
                    "kind": self.regression.terms[chosen[0]].kind if chosen else "none",
                    "r2": score,
                    "r2_interval": (low, high),
                    "twin_gain": twins[unit],
                    "held": held.mean,
                    "held_interval": held.interval(),
                    "exchanged": harm,
                    "saved": saved.mean / harm if harm > 0 else 0.0,
                    "saved_interval": saved.interval(),
                    "tests": tests,
                    "passed": all(tests.values()),
                }
            )
        return rows

    def _twin_gains(self) -> list[float]:
        """Return by how much each unit follows its sentence better than the best unit of an
        untrained network does; -1 without a sentence."""
        gains = [-1.0] * self.num_units
        detectors = [self.detector(unit) for unit in self.units if self.chosen[unit]]
        for name, scores in self.study.ranking(detectors).items():
            own = next(score for score in scores if score.unit == int(name))
            gains[int(name)] = own.gain
        return gains

    def detector(self, unit: int) -> Detector:
        """Return a detector that counts how high the sentence of a unit says the unit is."""
        said = self.said[:, unit]
        counts = np.round(1000 * (said - said.min()) / (said.std() + 1e-9)).astype(np.int64)
        return Detector(str(unit), self.sentence(unit), label=lambda _: counts)

    def sentence(self, unit: int) -> str:
        """Write the sentence of a unit: what it follows, how long it remembers, what it changes."""
        chosen = self.chosen[unit]
        if not chosen:
            return "nothing that was tried describes it"
        phrases = [in_words(*fitted) for fitted in self.fitted_terms(unit)]
        values = self.study.values_of(0, unit)
        outputs = self.study.outputs()[unit]
        if values.timescale is not None:
            phrases.append(f"remembers {values.timescale:.1f} characters")
        promoted = " ".join(shown(one.character) for one in outputs.promoted[:3])
        return f"{'; '.join(phrases)}; when it rises, more {promoted}"

    # --- how much the sentences carry

    def order(self, passed: list[int]) -> list[int]:
        """Put the units in order: each next one lowers the loss of the choosing half most while
        all other memories are at their means. Units that passed come first."""
        sizes = self.sizes
        begins = self.begins(0, sizes.num_ordering, length=sizes.short_segment)
        ordered: list[int] = []
        for group in (passed, [unit for unit in self.units if unit not in passed]):
            left = list(group)
            while left:
                takes = np.zeros((len(left), self.num_units), bool)
                takes[:, ordered] = True
                takes[np.arange(len(left)), left] = True
                losses = self.reader.losses(
                    begins,
                    replace_all(self.means, self.said, takes),
                    num_conditions=len(left),
                    length=sizes.short_segment,
                    warm_up=sizes.short_warm_up,
                )
                ordered.append(left.pop(int(losses.mean(axis=(1, 2)).argmin())))
        return ordered

    def curve(self, ordered: list[int], sizes: list[int]) -> Floats:
        """Return the loss of each character of the scoring half with the first k units replaced by
        their sentences and all others by their means, for each k of `sizes`: (k, M)."""
        takes = np.zeros((len(sizes), self.num_units), bool)
        for row, size in zip(takes, sizes, strict=True):
            row[ordered[:size]] = True
        change = replace_all(self.means, self.said, takes)
        return self.losses(self.begins(1), change, len(sizes))

    def replacements(self) -> Iterator[tuple[str, Floats]]:
        """Yield names and memories (N, H) by which all units are replaced: what the sentences say
        as they are written, then linear functions of several sets of terms."""
        yield "the sentences as written", self.written
        last = list(range(NUM_LAGS))
        detectors = list(range(NUM_LAGS, len(self.terms)))
        sets = {
            "detectors": detectors,
            "the last character": last[:1],
            "the last character, detectors": [*last[:1], *detectors],
            "the last two characters": last[:2],
            "the last two characters, detectors": [*last[:2], *detectors],
            "the last five characters": last,
            "the last five characters, detectors": [*last, *detectors],
        }
        for name, terms in sets.items():
            yield name, self.regression.predict(terms, self.units)

    def loss_of_outputs(self, begins: Ints) -> Floats:
        """Return the loss of each character (M,) if the outputs h of all units, and not their
        memories, are what the terms of their sentences predict: then no gate sees the text."""
        _, outputs = self.reader.traced()
        regression = Regression(self.regression.terms, outputs, slice(self.half))
        said = regression.predict_each(self.chosen)
        places = (begins[:, None] + np.arange(self.sizes.segment)).ravel()
        following = torch.from_numpy(self.ids[self.reader.first + places + 1])
        with torch.inference_mode():
            weight = self.reader.network.output.weight
            logits = self.reader.network.output(torch.from_numpy(said[places]).to(weight))
            losses = torch.nn.functional.cross_entropy(logits, following, reduction="none")
        return losses.double().numpy()

    def windows(self) -> dict[str, Any]:
        """Exchange the memory of each unit in windows only: where is it used?

        The rise of the loss is per exchanged character, beside the rise if the unit is exchanged
        everywhere.
        """
        text = self.study.text.text
        begins = self.begins(1, self.sizes.num_tested // 2)
        measured = (begins[:, None] + np.arange(self.sizes.segment)).ravel()
        free = self.losses(begins)[0]
        table = self.exchanged(within=False)
        each = np.eye(self.num_units, dtype=bool)
        found = {}
        for name, is_inside in windows_of(text).items():
            where = np.broadcast_to(is_inside, (self.num_units, len(text)))
            change = replace_some(table, each, where)
            rises = self.losses(begins, change, self.num_units) - free
            num_inside = is_inside[measured].astype(np.float64)
            units = []
            for rise in rises:
                sums, counts = resample_sums(rise, num_inside)
                low, high = interval_of(sums / np.maximum(counts, 1), len(rise))
                mean = float(rise.sum() / max(1.0, num_inside.sum()))
                units.append((mean, low, high))
            found[name] = {"share": float(num_inside.mean()), "rises": units}
        return found


LINE_END = 12
"""The last of so many parts of the characters, by their place in their line, are at a line end."""


def windows_of(text: str) -> dict[str, NDArray[np.bool_]]:
    """Return the windows (N,) in which units are exchanged."""
    quoted = DETECTORS["quote"].for_any_text().labelling(text).labels
    in_word = DETECTORS["word-position"].labelling(text).labels
    in_line = DETECTORS["line-position"].labelling(text).labels
    assert quoted is not None and in_word is not None and in_line is not None, "of any text"
    return {
        "everywhere": np.ones(len(text), bool),
        "between quotation marks": quoted.astype(bool),
        "in the first five characters of a word": (in_word >= 1) & (in_word <= 5),
        "at line ends": in_line >= np.quantile(in_line, 1 - 1 / LINE_END),
    }


def share_of(losses: Floats, mean_only: Floats, network: Floats) -> tuple[float, Interval]:
    """Return the share of the difference between the network and all units at their means that a
    replaced network keeps, from losses (M,), with its 95 % interval."""
    kept, whole = resample_sums(mean_only - losses, mean_only - network)
    share = float((mean_only - losses).sum() / (mean_only - network).sum())
    return share, interval_of(kept / whole, len(losses))


def counts_beside(model: Model, ids: Ints, positions: Ints) -> list[dict[str, Any]]:
    """Return for the orders 1 to 5 the loss of n-grams of the training text, and the number of
    different n-grams up to this order."""
    trained = model.training_text().ids.astype(np.int64)
    ngrams = fit_ngrams(model.training_text(), order=5, end_id=None)
    keys = np.zeros(len(trained), np.int64)
    num_ngrams = 0
    rows = []
    for order, probabilities in ngrams.by_order(ids, positions=positions, orders=range(1, 6)):
        keys = keys[: len(trained) - order + 1] * len(model.vocab) + trained[order - 1 :]
        num_ngrams += len(np.unique(keys))
        loss = float(-np.log(probabilities).mean())
        rows.append({"order": order, "ngrams": num_ngrams, "loss": loss})
    return rows


def measure_replacements(
    explanation: Explanation, begins: Ints, mean_only: Floats, free: Floats
) -> list[dict[str, Any]]:
    """Return the loss, the share and the median R² of each replacement of all memories."""
    every = np.ones((1, explanation.num_units), bool)
    scored = slice(explanation.half, None)
    rows = []
    for name, said in explanation.replacements():
        losses = explanation.losses(begins, replace_some(said, every))[0]
        scores = [
            r_squared(explanation.memories[scored, unit], said[scored, unit])
            for unit in explanation.units
        ]
        share, interval = share_of(losses, mean_only, free)
        rows.append(
            {
                "terms": name,
                "loss": float(losses.mean()),
                "share": share,
                "interval": interval,
                "median_r2": float(np.median(scores)),
            }
        )
    return rows


def explain(run: str, folder: Path, sizes: Sizes = Sizes()) -> None:
    """Measure everything about a run, and write it with the arrays for `recompute_explanation`."""
    model = charrnn.load(run)
    explanation = Explanation(model, sizes)
    begins = explanation.begins(1)
    print(model.name, "units", flush=True)
    units = explanation.tests()
    passed = [row["unit"] for row in units if row["passed"]]

    print(model.name, f"{len(passed)} passed; curve", flush=True)
    free = explanation.losses(begins)[0]
    ordered = explanation.order(passed)
    most = explanation.num_units
    numbers = sorted({len(passed), most, *(size for size in CURVE if size < most)})
    curve = dict(zip(numbers, explanation.curve(ordered, numbers), strict=True))
    mean_only = curve[0]
    shares = {size: share_of(losses, mean_only, free) for size, losses in curve.items()}
    share, interval = shares[len(passed)]

    # The other half of the question: only what passed is replaced, and all else stays alive.
    is_passed = np.zeros((1, explanation.num_units), bool)
    is_passed[0, passed] = True
    alive = {}
    for name, table in (("sentences", explanation.said), ("means", explanation.means)):
        alive[name] = float(explanation.losses(begins, replace_some(table, is_passed)).mean())

    print(model.name, "rows", flush=True)
    linear = measure_replacements(explanation, begins, mean_only, free)

    print(model.name, "counts, windows", flush=True)
    text = explanation.study.text
    places = (text.first + begins[:, None] + 1 + np.arange(explanation.sizes.segment)).ravel()
    result = {
        "run": model.name,
        "corpus": list(map(str, model.config.corpus)),
        "cell": model.config.cell,
        "units": units,
        "seed": model.config.seed,
        "step": model.step,
        "parameters": sum(value.size for value in model.tensors.values()),
        "num_chars": len(text),
        "num_scored": len(free),
        "segment": sizes.segment,
        "warm_up": sizes.warm_up,
        "terms": [term.name for term in explanation.terms],
        "network": float(free.mean()),
        "mean_only": float(mean_only.mean()),
        "passed": len(passed),
        "sentences": float(curve[len(passed)].mean()),
        "share": share,
        "share_interval": interval,
        "share_of_all": shares[most],
        "alive": alive,
        "order": ordered,
        "curve": [(size, float(curve[size].mean()), shares[size][0]) for size in numbers],
        "rows": linear,
        "outputs": share_of(explanation.loss_of_outputs(begins), mean_only, free),
        "numbers": sum(
            len(explanation.regression.terms[index].names)
            for of_unit in explanation.chosen
            for index in of_unit
        ),
        "control_level": explanation.control_level(),
        "twin_r2": float(np.median(explanation.untrained_scores())),
        "counts": counts_beside(model, explanation.ids, places),
        "windows": explanation.windows(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model.name}.json"
    path.write_text(json.dumps(rounded(result)) + "\n", encoding="utf-8")
    save_arrays(explanation, path.with_suffix(".npz"))
    print(model.name, f"share {share:.3f} ({interval[0]:.3f} to {interval[1]:.3f})", flush=True)


def measure_cards(run: str, folder: Path) -> None:
    """Measure the evidence card of every unit and its sentence, as `visualize --evidence` does, and
    write which of its tests each passes."""
    explanation = Explanation(charrnn.load(run))
    found = {}
    for unit in explanation.units:
        if explanation.chosen[unit]:
            card = explanation.study.evidence(0, unit, explanation.detector(unit))
            found[unit] = {"rank": card.necessary.rank, **card.tests()}
            print(unit, found[unit], flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{explanation.model.name}-cards.json"
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")


def measure_halves(run: str, folder: Path) -> None:
    """Measure the share of all units with the halves of the text in other roles, and write it.

    Sentences have no rules here, because the rules are chosen on the first half.
    """
    explanation = Explanation(charrnn.load(run))
    half = explanation.half
    every = np.ones((1, explanation.num_units), bool)
    candidates = range(len(explanation.terms))
    found = {}
    for name, fitted, scored in (
        ("as on the page", slice(half), 1),
        ("the halves exchanged", slice(half, None), 0),
        ("fitted to the first quarter", slice(half // 2), 1),
        ("fitted to the second quarter", slice(half // 2, half), 1),
        ("fitted to what is scored", slice(half, None), 1),
    ):
        regression = Regression(explanation.terms, explanation.memories, fitted)
        chosen = [regression.choose(unit, candidates) for unit in explanation.units]
        said = regression.predict_each(chosen)
        means = np.tile(regression.means, (len(said), 1))
        begins = explanation.begins(scored)
        free = explanation.losses(begins)[0]
        mean_only = explanation.losses(begins, replace_some(means, every))[0]
        losses = explanation.losses(begins, replace_some(said, every))[0]
        share, interval = share_of(losses, mean_only, free)
        found[name] = {"share": share, "interval": interval}
        print(name, f"{share:.3f}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{explanation.model.name}-halves.json"
    path.write_text(json.dumps(rounded(found)) + "\n", encoding="utf-8")


COLUMNS = ("run", "network", "means", "sentences", "passed", "share", "as written", "all units")
"""The columns of the table."""


def print_table(records: list[dict[str, Any]]) -> None:
    """Print a row for each record, and the mean share with its interval over the seeds."""
    print(f"| {' | '.join(COLUMNS)} |")
    print("| --- " * len(COLUMNS) + "|")
    for record in records:
        written = record["rows"][0]
        shares = []
        for share, (low, high) in (
            (record["share"], record["share_interval"]),
            (written["share"], written["interval"]),
            record["share_of_all"],
        ):
            shares.append(f"{share:.3f} ({low:.3f} to {high:.3f})")
        losses = [f"{record[name]:.3f}" for name in ("network", "mean_only", "sentences")]
        passed = f"{record['passed']} of {len(record['units'])}"
        print(f"| {' | '.join([record['run'], *losses, passed, *shares])} |")
    found = [record["share"] for record in records]
    mean = estimate(sum(found) / len(found), found)
    if mean.low is not None:
        print(f"\nMean share: {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f})")


def rounded(value: Any) -> Any:
    """Round all numbers to five digits after the point."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 5)
    if isinstance(value, np.bool_):
        return bool(value)
    return value


def save_arrays(explanation: Explanation, path: Path) -> None:
    """Write the weights, the ids, the groups of the terms and what was exchanged."""
    terms = explanation.regression.terms
    chosen = np.full((explanation.num_units, MAX_TERMS), -1)
    for unit, of_unit in enumerate(explanation.chosen):
        chosen[unit, : len(of_unit)] = of_unit
    np.savez_compressed(
        path,
        ids=explanation.ids,
        first=np.array(explanation.study.text.first),
        groups=np.stack([term.groups for term in terms]).astype(np.uint8),
        sizes=np.array([len(term.names) for term in terms]),
        chosen=chosen,
        exchanged=explanation.exchanged(within=False).astype(np.float32),
        is_window=np.stack(list(windows_of(explanation.study.text.text).values())),
        tested=explanation.begins(1, explanation.sizes.num_tested),
        scored=explanation.begins(1),
        **{f"weights_{name}": value for name, value in explanation.model.tensors.items()},
    )


def main() -> None:
    """Run one of the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    text = commands.add_parser("text", help="write the generated text")
    text.add_argument("file", type=Path)
    text.add_argument("--chars", type=int, default=3_200_000)
    for name, about in (
        ("explain", "measure runs"),
        ("cards", "measure all evidence cards"),
        ("halves", "measure the share with the halves of the text in other roles"),
    ):
        measuring = commands.add_parser(name, help=about)
        measuring.add_argument("runs", nargs="+")
        measuring.add_argument("--out", type=Path, default=Path("explained"))
    table = commands.add_parser("table", help="print the shares of runs that were measured")
    table.add_argument("records", nargs="+", type=Path)
    given = parser.parse_args()
    if given.command == "text":
        given.file.write_text(make_text(given.chars), encoding="utf-8")
    elif given.command == "table":
        lines = [line for path in given.records for line in path.open(encoding="utf-8")]
        print_table([json.loads(line) for line in lines])
    else:
        measures = {"explain": explain, "cards": measure_cards, "halves": measure_halves}
        for run in given.runs:
            measures[given.command](run, given.out)


if __name__ == "__main__":
    main()
