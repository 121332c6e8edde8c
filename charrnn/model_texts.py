"""What a model reads: a text that is given to it, encoded, and the parts of the text of its run."""

from typing import NamedTuple

from charrnn.errors import DataError, GivenTextWarning, UsageError, did_you_mean, named, warn
from charrnn.generation.sample_options import SAMPLE_TEMPERATURE, SampleOptions
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.text.given_text import GivenText, unknown_warning, whole_text
from charrnn.text.splits import split_text
from charrnn.text.vocab import EncodedText, encode_given
from charrnn.trained_model import TrainedModel, read_parts

TextOrIds = GivenText | EncodedText
"""A text to measure: as it is, or encoded with its context by `encode`."""
WRITTEN = SampleOptions(length=20_000, temperature=SAMPLE_TEMPERATURE, seed=1)
"""How an included model writes the text that it is measured on."""


class HeldOutText(NamedTuple):
    """A held-out part of the text of a run, in memory.

    It unpacks into the two arguments that methods take: `text, context = model.held_out_text()`.
    """

    text: str | bytes
    """The whole part."""
    context: str | bytes
    """Up to 65,536 characters before it."""


def encode(model: TrainedModel, text: TextOrIds, *, context: str | bytes = "") -> EncodedText:
    """Encode a text and its context for a model; a text that is encoded already is checked.

    Whatever measures a text begins with it. `Model.encode` says how a text is read, and what it
    raises.
    """
    # A path is no context: nothing says which part of the file stands before the text.
    if not isinstance(context, str | bytes):
        raise UsageError(
            f"{named('context')} is {context!r}: give the characters themselves, a string or bytes."
            " Path(…).read_text() returns those of a file."
        )

    # Documents begin after an END, which nobody types.
    if not isinstance(text, EncodedText):
        content = whole_text(text, config=model.config, context=context)
        if model.config.end_id is not None and not context:
            context = END
        encoded = encode_given(model.vocab, text=content, context=context)
        for warning in unknown_warning(model.name, encoded):
            warn(warning, GivenTextWarning)
        return encoded

    # An encoded text may come from another model, whose ids stand for other characters.
    if context:
        raise UsageError("An encoded text contains its context: leave the context out.")
    if len(text) == 0:
        raise DataError("The text is empty: give at least one character.")
    if text.vocab != model.vocab:
        raise UsageError(
            f"The text was encoded for another alphabet than that of {model.name}: encode it again."
        )
    return text


def held_out(model: TrainedModel, part: str = "validation") -> CorpusPart:
    """Return a held-out part, `validation` or `test`, of the text of a model's run.

    What is measured on it holds for new text, too. `Model.held_out` says what it raises.
    """
    # The training text is not held out; it has a function of its own.
    index = {"validation": 1, "test": 2}.get(part)
    if index is None:
        near = did_you_mean(part, ("validation", "test"))
        raise UsageError(f"There is no part {part!r}; use validation or test.{near}")
    if index >= len(model.config.split):
        raise UsageError(
            f"{model.name} has no test text: it was trained without"
            f" {named('split', '80/10/10')}. Leave {named('part')} out."
        )
    return read_parts(model, instead=f"give {named('text', 'FILE')}")[index]


def training_text(
    model: TrainedModel, part: CorpusPart | None = None, *, instead: str = ""
) -> CorpusPart:
    """Return the training text of a model's run; `Model.training_text` says what it takes."""
    # A part of the same corpus saves a second reading of all of it.
    if part is None or part.corpus.vocab != model.vocab:
        return read_parts(
            model, instead=instead, reason=" n-grams are counted in the training text."
        )[0]
    training, *_ = split_text(part.corpus.ids, model.config)
    return CorpusPart(part.corpus, begin=training.start, end=training.stop)


def written_text(model: TrainedModel) -> str:
    """Return the text that an included model, which has no other, is measured on.

    The cells of an included model are looked for in it, because the model comes without its
    training text. It is kept in the cache of the model.
    """
    key = {"length": WRITTEN.length}
    written = model.cache.load("written", key, result=str)
    if written is None:
        written = model.generator.begin(WRITTEN).whole().text
        model.cache.save("written", key, value=written)
    return written
