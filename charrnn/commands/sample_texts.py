"""The texts of `charrnn sample`: which are drawn, in which order they are shown, and how they
end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from charrnn.commands.sample_options import SampleCommandOptions
from charrnn.errors import counted, named
from charrnn.generation.generated_text import DeadEnd, GeneratedText, sorted_by_excess
from charrnn.generation.sample_options import SampleOptions, SearchOptions, SeveralOptions
from charrnn.generation.sampling import TextToDraw, place_of
from charrnn.runs.destinations import Destination
from charrnn.system.progress import tell, warn
from charrnn.text.documents import separator_of

if TYPE_CHECKING:
    from charrnn.api import Model


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What was asked of `charrnn sample`."""

    model: "Model"
    """The model that generates."""
    options: SampleCommandOptions
    """What was typed."""
    drawing: SampleOptions
    """How the first text is drawn, and what it continues."""
    temperatures: Sequence[float]
    """The temperatures of --temp."""
    typed: str
    """The prime that was typed; it is printed before the text."""
    destination: Destination | None
    """The file of --export."""

    @property
    def is_single(self) -> bool:
        """Whether one text is drawn, and nothing chooses or sorts it."""
        options = self.options
        is_one = options.count in (None, 1) and len(self.temperatures) == 1
        return is_one and not (options.is_chosen or options.sort or options.width)


class TextToShow(NamedTuple):
    """A text of `charrnn sample`."""

    heading: str
    """What separates it from the text before it."""
    text: TextToDraw | GeneratedText
    """The text: a `TextToDraw` is drawn when it is taken."""
    drawing: SampleOptions
    """The options that it is generated with."""

    def whole(self) -> GeneratedText:
        """Return the text once all of it is drawn."""
        if isinstance(self.text, TextToDraw):
            return self.text.whole()
        return self.text

    def chunks(self) -> Iterator[str]:
        """Yield the parts of the text as they are drawn."""
        if isinstance(self.text, TextToDraw):
            return self.text.chunks()
        return iter([self.text.text])


def texts_of(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield the texts that were asked for, in the order in which they are shown."""
    if request.options.width is not None:
        return _searched_texts(request, width=request.options.width)
    if len(request.temperatures) > 1:
        return _texts_by_temperature(request)
    return _drawn_texts(request)


def _searched_texts(request: SampleRequest, width: int) -> Iterator[TextToShow]:
    """Yield the best texts of a beam search."""
    count = request.options.count or 1
    search = SearchOptions(
        **vars(request.drawing), width=width, no_repeat=request.options.no_repeat
    )
    for index, text in enumerate(request.model.generator.beam(search)[:count]):
        heading = ""
        if count > 1:
            name = f"{index + 1} of {count}: log-probability {text.logprob:.2f} nats"
            heading = _heading(index, name=name)
        yield TextToShow(heading, text, search)


def _texts_by_temperature(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield texts of the same seed, which differ by their temperature alone."""
    for index, temperature in enumerate(request.temperatures):
        drawing = replace(request.drawing, temperature=temperature)
        heading = _heading(index, name=f"temperature {temperature:g}")
        yield TextToShow(heading, request.model.generator.begin(drawing), drawing)


def _drawn_texts(request: SampleRequest) -> Iterator[TextToShow]:
    """Yield texts that are drawn one after the other, or chosen and sorted."""
    count = request.options.count or 1
    for index, text in enumerate(_texts_in_order(request, count)):
        yield TextToShow(_separator(request, index, count), text, request.drawing)


def _texts_in_order(request: SampleRequest, count: int) -> Iterable[TextToDraw | GeneratedText]:
    """Return the drawn texts that --unique and --new leave, in the order of --sort."""
    options = request.options
    if not options.is_chosen and options.sort is None:
        return request.model.generator.begin_each(count, request.drawing)
    accept = None
    if options.new:
        accept = request.model.new_documents()
    chosen = request.model.generator.iter_samples(
        SeveralOptions(count, **vars(request.drawing), unique=options.unique, accept=accept)
    )
    if options.sort == "likely":
        return sorted(chosen, key=attrgetter("logprob"), reverse=True)
    if options.sort == "excess":
        return sorted_by_excess(chosen)
    return chosen


def _heading(index: int, name: str) -> str:
    heading = f"--- {name} ---\n"
    if index > 0:
        heading = "\n" + heading
    return heading


def _separator(request: SampleRequest, index: int, count: int) -> str:
    """Return what separates text `index` of `count` from the one before it, as such documents are
    separated in a file.

    Documents without a newline follow each other, one per line, so that the output can be trained
    on again, and so can those that a line parts. Files and values of a column may contain any line,
    so they get a heading. All other texts are separated by a blank line.
    """
    config = request.model.config
    if separator_of(config, request.model.vocab) == "\n":
        return ""
    if config.parting_line:
        return f"{config.parting_line}\n" if index > 0 else ""
    if config.documents in ("files", "column"):
        return f"--- {index + 1} of {count} ---\n" if count > 1 else ""
    return "\n" if index > 0 else ""


@dataclass
class TextEnds:
    """How many texts were shown and drawn, and how they end."""

    first_place: int
    """The place of the first text that was drawn."""
    num_shown: int = 0
    num_drawn: int = 0
    num_cut: int = 0
    dead_ends: list[DeadEnd] = field(default_factory=list)

    def add(self, text: GeneratedText) -> None:
        """Count a text that was shown."""
        self.num_shown += 1
        self.num_drawn = max(self.num_drawn, place_of(text.seed) - self.first_place + 1)
        if text.is_cut:
            self.num_cut += 1
        if text.dead_end is not None:
            self.dead_ends.append(text.dead_end)

    def tell(self) -> None:
        """Say how many texts were cut, and where no character may follow."""
        if self.num_cut:
            warn(f"{counted(self.num_cut, 'document')} cut before the end: give a larger --length")
        if not self.dead_ends:
            return
        first = self.dead_ends[0]
        what = f"the text ends after {counted(first.num_chars, 'character')}"
        if self.num_shown > 1:
            ended = counted(len(self.dead_ends), "text")
            what = f"{ended} ended early, the first after {first.num_chars:,}"
        names = " and ".join(map(named, first.options))
        tell(f"{what}: {names} let no character follow")
