"""Parse the option --mix, and load the mixture that it names."""

import math
import os
from collections.abc import Sequence

from charrnn.cli.arguments import load_model
from charrnn.errors import UsageError, named
from charrnn.ngrams.text_model import ngrams_of
from charrnn.reports.mixing import Mixture, mix
from charrnn.trained_model import TextModel, TrainedModel

NGRAMS = "ngrams"
"""The name of the n-grams of the first run's training text. A run of that name is ./ngrams."""


def parse_mix(mix: Sequence[str]) -> tuple[list[str], list[float] | None]:
    """Parse the arguments of --mix: the runs, and the weights of the first run and of these runs;
    None for equal weights.

    Raises UsageError for a weight that is no number from 0 to 1, for a sum above 1, and if only
    some runs have a weight.
    """
    from charrnn.runs.reader import is_run, split_step

    names, weights = [], []
    for text in mix:
        # The name of a run or of a file may have a = in it, too.
        is_whole = "=" not in text or os.path.isfile(text) or is_run(split_step(text)[0] or "")
        if is_whole:
            names.append(text)
            continue
        name, _, number = text.rpartition("=")
        names.append(name)

        # A text that is no number becomes NaN, which fails the comparison below.
        try:
            weights.append(float(number))
        except ValueError:
            weights.append(math.nan)
        if not 0 <= weights[-1] <= 1:
            raise UsageError(
                f"{named('mix', text)}: write a number from 0 to 1 after the =, such as {name}=0.3."
            )

    # Either all runs have a weight or none has. Otherwise the rest of the weights would have to be
    # guessed.
    if not weights:
        return names, None
    if len(weights) < len(names):
        raise UsageError(
            f"Give each {named('mix')} a weight, such as RUN=0.3, or none of them: then all"
            " weights are equal."
        )
    # Three times 1/3, rounded, may be a little more than 1.
    if sum(weights) > 1 + 1e-9:
        raise UsageError(
            f"The weights of {named('mix')} have the sum {sum(weights):g}; it must be at most 1:"
            " the first run has the rest."
        )
    return names, [max(0.0, 1 - sum(weights)), *weights]


def load_mixture(first: TrainedModel, others: Sequence[str], *, quiet: bool) -> Mixture:
    """Load the models of --mix, and mix them with the model `first`, by `charrnn.mix`.

    The name `ngrams` stands for the n-grams of the training text of `first`. Raises the errors of
    `parse_mix`, of `charrnn.mix` and of `ngrams_of`.
    """
    names, weights = parse_mix(others)
    models: list[TextModel] = [first]
    for name in names:
        if name == NGRAMS:
            models.append(ngrams_of(model=first, instead=f"leave {named('mix', NGRAMS)} out"))
        else:
            models.append(load_model(name, quiet=quiet))
    return mix(models, weights=weights)
