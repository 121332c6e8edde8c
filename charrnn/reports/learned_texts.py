"""What a sample may not copy of the texts that a model has learned: documents that stand in them,
and characters that would complete a passage of them.

Shapes: V vocabulary.
"""

from collections.abc import Callable
from itertools import chain

from charrnn.config.options import at_least, check
from charrnn.errors import UsageError, named
from charrnn.reports.provenance import read_reference_text
from charrnn.text.copies import (
    KnownPassages,
    documents_of,
    known_documents,
    loose_key,
    read_known_passages,
)
from charrnn.text.word_list import are_single_words
from charrnn.trained_model import TrainedModel


def known_passages(model: TrainedModel, num_chars: int) -> KnownPassages:
    """Read the training texts of the run and of the runs that it started from, so that no sample
    copies more than `num_chars` of their characters in a row.

    `Model.known_passages` returns it.

    Returns a function of the ids of a text, which returns which characters (V,) would complete a
    passage if they followed it: the argument `forbid` of a sample.

    Raises DataError if the text is missing or has changed, UsageError for a number under 1.
    """
    check("num_chars", num_chars, allowed=at_least(1))
    texts = read_reference_text(model).trainings
    return read_known_passages(texts, num_chars, vocab=model.vocab, end_id=model.config.end_id)


def check_new_words(model: TrainedModel) -> None:
    """Raise UsageError for a model of documents that are mostly single words: no document of known
    words is new. Raises DataError if the run's text is missing or has changed.

    It is asked before drawing: with both options every text would be rejected.
    """
    if learned_single_words(model):
        raise UsageError(
            f"{named('known_words')} does not go with {named('new')}: the documents of"
            f" {model.name} are single words, so that one of known words is not new. Leave one of"
            " them out."
        )


def learned_single_words(model: TrainedModel) -> bool:
    """Return whether the documents that a model has learned are mostly single words. Raises
    DataError if the run's text is missing or has changed."""
    training, *_ = read_reference_text(model).parts[0]
    documents = [document for document in documents_of(training) if isinstance(document, str)]
    return are_single_words(documents)


def new_documents(model: TrainedModel) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is new: it is not empty, and stands neither in
    the text of the model, held-out parts included, nor in that of a model that it started from,
    whatever its case, the blanks at its ends and the form of Unicode. The function is the argument
    `accept` of `Model.samples`.

    `Model.new_documents` returns it. Raises DataError if the run's text is missing or changed,
    UsageError for a model without documents.
    """
    known = known_keys(model)
    known.add("")
    return lambda document: loose_key(document) not in known


def known_keys(model: TrainedModel) -> set[str]:
    """Return the `loose_key` of each document that a model has read: those of its text, held-out
    parts included, and of the models that it started from. Raises the errors of `new_documents`."""
    if model.config.end_id is None:
        raise UsageError(
            f"{model.name} was not trained on documents, such as the lines of a list, so that"
            f" nothing is new or known: train it with {named('documents', 'lines')}."
        )
    return known_documents(*chain.from_iterable(read_reference_text(model).parts))
