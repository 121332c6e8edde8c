"""The methods that generate text, which a model and a mixture of models have in common."""

from collections.abc import Iterator, Sequence
from typing import Any

from charrnn.display import RecordList
from charrnn.generation.defaults import DEFAULT_TOP, DEFAULT_UNKNOWN
from charrnn.generation.generator import Generator
from charrnn.generation.options import SampleOptions, SearchOptions, takes_fields_of
from charrnn.generation.records import GeneratedText, Prediction
from charrnn.generation.writing import Piece, TextSearch


class Generating:
    """Generates text with its `generator`; each method takes the fields of an options dataclass by name."""

    generator: Generator
    """Generates text, with options in a dataclass."""

    @takes_fields_of(SampleOptions)
    def sample(self, options: SampleOptions) -> GeneratedText:
        """Draw a text. The options are the fields of `generation.options.SampleOptions`.

        Raises UsageError for an option out of range, DataError for a prime with characters outside the vocabulary.
        """
        return self.generator.sample(options)

    def samples(self, count: int, *, temperatures: Sequence[float] = (), **options: Any) -> list[GeneratedText]:
        """Draw `count` texts at once, or one for each of `temperatures` by the same random numbers; see `sample`.

        Text i is the same however many there are, and the first is that of `sample`. All texts share one seed.
        """
        return RecordList(self.generator.iter_samples(count, SampleOptions(**options), temperatures=temperatures))

    @takes_fields_of(SampleOptions)
    def stream(self, options: SampleOptions) -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn: (text, log-probability in nats, value of `cell`); see `sample`.

        A piece is a character; with the byte alphabet it is "" until the bytes of a character are complete.
        """
        return self.generator.stream(options)

    @takes_fields_of(SampleOptions)
    def write(self, options: SampleOptions) -> Iterator[str]:
        """Yield the text of `stream` in larger chunks, as fast as it can be drawn; see `sample`."""
        return self.generator.write(options)

    @takes_fields_of(SearchOptions)
    def search(self, options: SearchOptions) -> TextSearch:
        """Return a beam search to iterate over: it yields the best text as far as it is certain.

        The options are the fields of `generation.options.SearchOptions`. Raises UsageError for an option out of range
        or a stop string with characters outside the vocabulary, DataError for such a prime.
        """
        return self.generator.search(options)

    @takes_fields_of(SearchOptions)
    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the best texts that a beam search finds, most likely first; options and errors as for `search`."""
        search = self.generator.search(options)
        for _ in search:
            pass
        return search.best()

    def predict(self, text: str | bytes, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN) -> list[Prediction]:
        """Return the `top` most likely characters after `text` and their probabilities, most likely first.

        An empty text stands for a newline. The unknown symbol is left out; the probabilities of all others sum to 1.
        Raises UsageError for a `top` under 1, DataError as `sample` does.
        """
        return RecordList(self.generator.predict(text, top=top, unknown=unknown))
