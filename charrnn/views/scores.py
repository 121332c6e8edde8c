"""Write the score of a cell in words: with its interval, its marks and what they mean."""

from charrnn.cells.records import CellScore

NOT_SIGNIFICANT_MARK = "?"
"""Follows a score that is not significant."""
NO_GAIN_MARK = "~"
"""Follows a significant score that the untrained baseline reaches, too."""
MEANINGS = {
    NOT_SIGNIFICANT_MARK: "not significant, may be due to chance",
    NO_GAIN_MARK: "no better than the untrained network",
}
"""The meanings of the marks of `score_mark`."""
SHOWN_AS = {"null_level": "chance", "untrained": "untrained", "interior": "inner"}
"""The words for fields of a score."""


def score_text(score: CellScore) -> str:
    """Return a cell's score with its name: AUC or ρ; "" if it has none.

    Use it for a caption; `score_line` has the interval and the nulls, too.
    """
    if score.auc is not None:
        return f"AUC {score_number(score.auc)}"
    if score.spearman is None:
        return ""
    return f"ρ {score_number(score.spearman, form='+.3f')}"


def score_line(score: CellScore) -> str:
    """Return a cell's score with its interval, and what it is compared with; "" if it has none.

    It stands above a passage and in a card, where the score is alone; in a table, the columns have
    what it says.
    """
    line = score_text(score)
    if score.ci_low is not None:
        line += f" ({ends_text(score.ci_low, score.ci_high)})"
    for name, words in SHOWN_AS.items():
        value = getattr(score, name)
        if value is not None:
            line += f", {words} {score_number(value)}"
    return line


def score_mark(score: CellScore) -> str:
    """Return the mark of a score that chance, or else the untrained baseline, explains; "" for a
    score that neither explains.

    A table has room for the mark only, and `meaning` explains it below.

    A cell further down a ranking has no p-value and no interval: chance explains its score if the
    score is below the chance level.
    """
    exceeds_chance = score.is_significant
    if score.p_value is None and score.null_level is not None:
        exceeds_chance = score.exceeds_chance_level

    # Chance first: a score that may be chance is not compared with the untrained network.
    if not exceeds_chance:
        return NOT_SIGNIFICANT_MARK
    if score.is_no_better_than_untrained:
        return NO_GAIN_MARK
    return ""


def meaning(score: CellScore) -> str:
    """Return the meaning of the mark of a score; "" for a score without a mark.

    It stands below a table, once for each mark that occurs.
    """
    return MEANINGS.get(score_mark(score), "")


def polarity_text(score: CellScore) -> str:
    """Return in words whether the cell is high or low inside, or rises or falls with a count."""
    if score.auc is not None:
        return "high inside" if score.polarity > 0 else "low inside"
    return "rises with it" if score.polarity > 0 else "falls with it"


def score_number(value: float, form: str = ".3f") -> str:
    """Write an AUC, a ρ or an R² so that it only looks perfect if it is: 0.99998 is 0.999.

    A number in a format of other digits is rounded as ever.
    """
    if form.endswith(".3f") and abs(value) < 1:
        value = max(-0.999, min(0.999, value))
    return f"{value:{form}}"


def ends_text(low: float | None, high: float | None, form: str = ".3f") -> str:
    """Return the ends of an interval of scores, or of others in a format that has other digits; ""
    if an end is None.

    Every interval is written by it, with the digits of the figure beside it.
    """
    if low is None or high is None:
        return ""
    return f"{score_number(low, form=form)}…{score_number(high, form=form)}"
