"""The text on which several models are compared: a given text, or the held-out part that their runs
have in common."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial

from charrnn.errors import UsageError, named
from charrnn.evaluation.measured import Content
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, whole_text
from charrnn.trained_model import TrainedModel


def texts_of(
    models: Sequence[TrainedModel], text: GivenText | None, *, part: str, context: str | bytes
) -> tuple[Sequence[Content], tuple[int, int] | None]:
    """Return the text for each model: the given text, or the held-out part of the model's own text,
    which must be the same for all models.

    If some models read the same text in bytes and others in characters, the texts are cut to the
    bytes that every held-out part contains, and the range of these bytes is returned, too.
    """
    if not models:
        raise UsageError("There is no model to evaluate: give at least one.")

    # Models in memory have no path, and cannot be recognized as the same.
    checkpoints = [(model.path, model.step) for model in models if model.path is not None]
    for path, step in checkpoints:
        if checkpoints.count((path, step)) > 1:
            raise UsageError(f"{path.name} is given twice: its difference to itself is 0.")

    # With and without END, the same bytes are different texts: END is predicted like a character,
    # so the mean losses would be taken over different symbols.
    first = models[0]
    for model in models:
        if model.config.documents != first.config.documents:
            raise UsageError(
                f"{first.name} and {model.name} divide a text into documents in different ways"
                f" ({first.config.documents}, {model.config.documents}): their losses cannot be"
                " compared. Evaluate each by itself."
            )
    if text is not None:
        # As characters, if any model reads characters.
        reader = next((model for model in models if model.vocab.kind == "char"), first)
        return [whole_text(text, reader.config, context=context)] * len(models), None

    # If some models read one text in bytes and others in characters, its passages are compared.
    parts = [model.held_out(part) for model in models]
    is_one_text = len({held_out.corpus.digest for held_out in parts}) == 1
    has_several_kinds = len({model.vocab.kind for model in models}) > 1
    if is_one_text and has_several_kinds and first.config.documents == "none":
        return _common_parts(parts)

    # The ids are compared, not the files: two files may differ and have the same last tenth.
    for model, held_out in zip(models, parts, strict=True):
        if model.vocab != first.vocab or not parts[0].has_same_ids(held_out):
            raise UsageError(
                f"The held-out texts of {first.name} and {model.name} differ: they were trained on"
                f" other texts, with another alphabet or another {named('split')}.\nCompare them"
                f" on {named('text')}, a file on which neither was trained."
            )
    return parts, None


def _common_parts(parts: Sequence[CorpusPart]) -> tuple[Sequence[CorpusPart], tuple[int, int]]:
    """Return the passage that several held-out parts of one text have in common, for each part, and
    the range of its bytes.

    Some of the parts are in bytes and some in characters.
    """
    # The common passage, in bytes of the whole text. The last tenth of the bytes and the last tenth
    # of the characters begin at different places.
    begin = max(part.corpus.num_bytes(0, part.begin) for part in parts)
    end = min(part.corpus.num_bytes(0, part.end) for part in parts)

    # The first and the last character whose bytes are all in every part.
    chars = next(part for part in parts if part.corpus.vocab.kind != "byte")
    before = chars.corpus.num_bytes(0, chars.begin)
    indices = range(chars.begin, chars.end + 1)
    num_bytes_until = partial(chars.corpus.num_bytes, chars.begin)
    first = chars.begin + bisect_left(indices, begin - before, key=num_bytes_until)
    last = chars.begin + bisect_right(indices, end - before, key=num_bytes_until) - 1
    if first >= last:
        raise UsageError(
            "The held-out texts of these runs have nothing in common. Compare them on"
            f" {named('text')}."
        )

    # Every part is cut at the same characters. In a byte alphabet, an index counts bytes.
    first_byte = chars.corpus.num_bytes(0, first)
    last_byte = chars.corpus.num_bytes(0, last)
    common = []
    for part in parts:
        if part.corpus.vocab.kind == "byte":
            common.append(CorpusPart(part.corpus, begin=first_byte, end=last_byte))
        else:
            common.append(CorpusPart(part.corpus, begin=first, end=last))
    return common, (first_byte, last_byte)
