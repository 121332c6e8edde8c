"""Beam search (Graves 2012): find the most likely text instead of drawing a random text.

Shapes: W live texts, V vocabulary, N characters. The model reads the next characters of all texts
in one step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from charrnn.generation.distribution import log_softmax
from charrnn.generation.rules import TextState
from charrnn.generation.sample_options import SearchOptions
from charrnn.generation.sampling import Ids
from charrnn.generation.writing import LONG_TEXT, Ending
from charrnn.model.stepper import Stepper
from charrnn.system.arrays import Float64Array
from charrnn.system.progress import task_from


class Beam(NamedTuple):
    """A text of a beam search."""

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """The model's log-probability of each id, in nats."""
    total: float = 0.0
    """The log-probability of the whole text in nats, as the search added it up."""
    parent: int = 0
    """Its row among the live texts before its last character was written."""
    state: TextState = TextState()
    """What the rules know of it."""


@dataclass(frozen=True, kw_only=True)
class BeamSearch:
    """Searches for the most likely texts after `prime`: up to `width` different texts.

    `TextGenerator.beam` makes one, after the options were checked; a text that is drawn comes from
    `sampling.Rows`.

    The search ends

    - when no character is allowed after any live text: with the texts that have ended or, if no
      text has ended, with the live texts;
    - when no text is live: every text has ended, or is worse than `width` texts that have ended;
    - when the live texts have `length` characters: they count as ended.
    """

    stepper: Stepper
    prime: Ids
    """The ids that are read first, at least one."""
    options: SearchOptions
    ending: Ending
    """What may follow a text, and what ends it."""
    never_first: Sequence[int] = ()
    """Ids with which no text begins."""

    def run(self) -> list[Beam]:
        """Search, and return the texts, best first."""
        # The search begins with one empty text.
        live = [Beam(state=self.ending.rules.start(self.ending.prime))]
        ended: list[Beam] = []

        # A search computes each character once for every text that it keeps.
        width = self.options.width
        length = self.options.length
        logits, state = self.stepper.read(self.prime)
        with task_from(LONG_TEXT // width, "writing", total=length) as advance:
            while True:
                grown = self._grow(live, log_softmax(logits))
                if not grown:
                    break  # No character is allowed after any live text.
                advance(1)

                live = []
                for text in grown:
                    if self.ending.has_ended(text.ids, text.state):
                        ended.append(text)
                    else:
                        live.append(text)
                ended = self._best(ended)

                # No text becomes more likely when it grows, so a text that is worse than all that
                # have ended is lost.
                if len(ended) == width:
                    live = [text for text in live if text.total > ended[-1].total]

                # The last characters are not read, because nothing is predicted after them.
                if not live or len(live[0].ids) == length:
                    break
                chars = np.array([text.ids[-1] for text in live])
                parents = [text.parent for text in live]
                logits, state = self.stepper.step(chars, state.take(parents, axis=-2))

        # Live texts of the whole length are results. Shorter live texts, which no character may
        # follow, are results only if no text has ended.
        if not ended or (live and len(live[0].ids) == length):
            ended += live
        return self._best(ended)

    def _best(self, texts: Iterable[Beam]) -> list[Beam]:
        """Return the `width` most likely texts, best first; equally likely texts stay in their
        order."""
        return sorted(texts, key=attrgetter("total"), reverse=True)[: self.options.width]

    def _grow(self, live: Sequence[Beam], logprobs: Float64Array) -> list[Beam]:
        """Return the `width` most likely texts with one more character, best first, by the
        log-probabilities (W, V) of the next characters."""
        totals = np.array([text.total for text in live])[:, None] + logprobs
        for text, of_text in zip(live, totals, strict=True):
            if not text.ids:
                of_text[list(self.never_first)] = -np.inf
            if self.options.no_repeat is not None:
                read = np.append(self.prime, text.ids).astype(np.int64)
                of_text[repeating(read, self.options.no_repeat)] = -np.inf
            num_left = self.options.length - len(text.ids)
            of_text[~self.ending.rules.allowed(text.state, num_left)] = -np.inf

        # Equal totals stay in their order. Those that are not finite come last. Only those that
        # reach the least of the best are sorted.
        grown = []
        costs = np.where(np.isfinite(totals), -totals, np.inf).ravel()
        last = min(self.options.width, costs.size) - 1
        most = np.partition(costs, kth=last)[last]
        candidates = np.flatnonzero(costs <= most)
        best = candidates[np.argsort(costs[candidates], kind="stable")][: last + 1]
        best = best[np.isfinite(costs[best])]
        for index, logprob in zip(best.tolist(), logprobs.ravel()[best].tolist(), strict=True):
            parent, id = divmod(index, totals.shape[1])
            text = live[parent]
            beam = Beam(
                ids=(*text.ids, id),
                logprobs=(*text.logprobs, logprob),
                total=text.total + logprob,
                parent=parent,
                state=self.ending.rules.follow(text.state, id),
            )
            grown.append(beam)
        return grown


def repeating(ids: Ids, n: int) -> Ids:
    """Return the ids that would repeat an n-gram of a text (N,) after its end, exactly."""
    # The places with n - 1 characters before them, which equal the last n - 1 one after the other.
    places = np.arange(n - 1, len(ids))
    for back in range(1, n):
        if len(places) == 0:
            break
        places = places[ids[places - back] == ids[-back]]
    return ids[places]
