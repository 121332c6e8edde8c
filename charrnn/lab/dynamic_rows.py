"""Rows of an evaluation for dynamic evaluation and for a fitted temperature.

Both are compared with the static (`stateful`) losses of the same run over the same characters.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from charrnn.evaluation.char_losses import CharLosses, char_losses
from charrnn.evaluation.loss import MeasuredText, paired_difference, report_of
from charrnn.evaluation.loss_table import LossTable, MeasuredRun
from charrnn.evaluation.records import EvaluationRow, LossReport, SkippedRow
from charrnn.lab.dynamic import dynamic_losses
from charrnn.lab.temperature import cross_fitted_losses, fit_temperature, losses_at
from charrnn.model.device import chosen_precision
from charrnn.model.network import CharRNN
from charrnn.text.vocab import IdArray

DYNAMIC = "dynamic"
"""The protocol of dynamic evaluation."""
TEMPERATURE = "temperature"
"""The protocol of the stateful losses at a fitted temperature."""
MAX_DYNAMIC = 1 << 17
"""Characters that dynamic evaluation scores, unless another limit is asked for: about a minute for 512 units."""


def dynamic_report(
    network: CharRNN, text: MeasuredText, scale: Mapping[str, Tensor], *, max_chars: int | None = None
) -> LossReport:
    """Measure the mean loss over the first `max_chars` characters of a text by dynamic evaluation."""
    losses = dynamic_losses(network, text.ids, text.first_scored, scale=scale, max_chars=max_chars)
    return report_of(losses, text, protocol=DYNAMIC, precision="fp32")


def add_dynamic(
    table: LossTable,
    run: MeasuredRun,
    scale: Mapping[str, Tensor],
    *,
    max_chars: int | None = MAX_DYNAMIC,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> None:
    """Measure a run by dynamic evaluation and add its row, with the difference to its static loss.

    Only the first `max_chars` characters are scored, in one piece. If these are not all, the row is named `run[:N]`,
    and a row of the static loss of the same characters comes before it. Both are computed in fp32.
    """
    text, network = run.text, _network_of(run)
    first, num_chars = text.first_scored, len(text.ids) - text.first_scored
    num_scored = num_chars if max_chars is None else min(num_chars, max_chars)
    ids = text.ids[: first + num_scored]
    static = char_losses(network, ids, first, precision="fp32", on_progress=on_progress)
    losses = dynamic_losses(network, ids, first, scale=scale, on_progress=on_progress)
    name = run.name
    if num_scored < num_chars:
        name = f"{run.name}[:{num_scored + first - text.first}]"
        _add(table, run, static, name=name, protocol="stateful", precision="fp32")
    _add(table, run, losses, static, name=name, protocol=DYNAMIC, precision="fp32")


def add_temperature(
    table: LossTable,
    run: MeasuredRun,
    static: CharLosses,
    validation: tuple[IdArray, int] | None,
    *,
    precision: str = "auto",
    max_chars: int | None = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> None:
    """Measure a run at a fitted temperature and add its row, with the difference to its static losses `static`.

    The temperature is fitted to the `validation` text (ids, index at which it begins). Without one, that is the text
    itself, and each of its halves is scored at the temperature that is fitted to the other one. A note names them.
    """
    network, ids, first = _network_of(run), run.text.ids, run.text.first_scored
    if validation is not None:
        temperature = fit_temperature(network, *validation, precision=precision, on_progress=on_progress)
        losses = losses_at(
            temperature, network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        how = f"{temperature:.3f}, fitted to the validation text"
    else:
        if len(ids) - first < 2:
            reason = "it is fitted to one half of the text for the other, and the text has no halves"
            table.skipped.append(SkippedRow(protocol=TEMPERATURE, reason=reason))
            return
        losses, halves = cross_fitted_losses(
            network, ids, first, precision=precision, max_chars=max_chars, on_progress=on_progress
        )
        how = f"{halves[0]:.3f} and {halves[1]:.3f}, each fitted to the half of the text on which it is not scored"
    chosen = chosen_precision(network.device, precision)
    _add(table, run, losses, static, name=run.name, protocol=TEMPERATURE, precision=chosen)
    table.notes.append(f"{TEMPERATURE} of {run.name}: {how}.")


def _network_of(run: MeasuredRun) -> CharRNN:
    assert isinstance(run.network, CharRNN), "a mixture has no weights of its own to adapt"
    return run.network


def _add(
    table: LossTable,
    run: MeasuredRun,
    losses: CharLosses,
    static: CharLosses | None = None,
    *,
    name: str,
    protocol: str,
    precision: str,
) -> None:
    table.append(
        EvaluationRow(
            name=name,
            step=run.step,
            loss=report_of(losses, run.text, protocol=protocol, precision=precision),
            difference=None if static is None else paired_difference(losses, static),
        )
    )
