"""Load the mixtures that commands write and predict with."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from charrnn.cli.arguments import load_model
from charrnn.errors import UsageError
from charrnn.system.lazy import LazyModule

if TYPE_CHECKING:
    from charrnn.counts.counted_model import CountedModel
    from charrnn.plugins.reports import mixing
    from charrnn.plugins.reports.mixing import Mixture
    from charrnn.trained_model import TrainedModel

    WritingModel: TypeAlias = TrainedModel | CountedModel | Mixture
    """A model that generates text: a network alone, with its counts, or a mixture."""
else:
    mixing = LazyModule("charrnn.plugins.reports.mixing")


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
                f"--mix {text}: write a number from 0 to 1 after the =, such as {name}=0.3."
            )

    # Either all runs have a weight or none has. Otherwise the rest of the weights would have to be
    # guessed.
    if not weights:
        return names, None
    if len(weights) < len(names):
        raise UsageError(
            "Give each --mix a weight, such as RUN=0.3, or none of them: then all weights are"
            " equal."
        )
    # Three times 1/3, rounded, may be a little more than 1.
    if sum(weights) > 1 + 1e-9:
        raise UsageError(
            f"The weights of --mix have the sum {sum(weights):g}; it must be at most 1: the first"
            " run has the rest."
        )
    return names, [max(0.0, 1 - sum(weights)), *weights]


def load_mixture(
    first: "TrainedModel | CountedModel",
    mix: Sequence[str],
    *,
    counts: bool | None = False,
    quiet: bool,
) -> "Mixture":
    """Load the runs of --mix and mix them with the model `first`, by `charrnn.mix`.

    `counts` says whether each of the loaded runs takes part together with its counts
    (`counts.writers.choose_writer`). Raises the errors of both `parse_mix` and `charrnn.mix`.
    """
    # Imported here, as the models themselves: a help page needs neither.
    from charrnn.counts.writers import choose_writer

    names, weights = parse_mix(mix)
    models: list[TrainedModel | CountedModel] = [first]
    for name in names:
        models.append(choose_writer(load_model(name, quiet=quiet), counts))
    return mixing.mix(models, weights)
