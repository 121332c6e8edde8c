"""The public Python interface: the same verbs as on the command line, with the same names for options."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.generation.beam import BeamOptions, BeamSearch, Mode
from charrnn.generation.distribution import Shaping, next_char_probs
from charrnn.generation.novelty import MIN_LENGTH, find_copies
from charrnn.generation.sampling import Block, OnCompile, Reading, read_prime, sample_ids, start_ids, unwritable_ids
from charrnn.generation.writing import Piece, TextSearch, TextStream, write_chunks, write_text, write_texts
from charrnn.model.shapes import check_shapes
from charrnn.model.stepper import Stepper
from charrnn.records import (
    Ablation,
    CellFindings,
    CellHistory,
    GateReport,
    GeneratedText,
    GradientReach,
    LossReport,
    Novelty,
    Prediction,
)
from charrnn.runs.finding import open_run
from charrnn.runs.folder import RunFolder
from charrnn.runs.step import LoadedStep
from charrnn.text.corpus import read_corpus
from charrnn.text.lanes import split_ids
from charrnn.text.vocab import Vocab

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from charrnn.microscope.detectors import Detector
    from charrnn.microscope.trace import Trace
    from charrnn.model.network import CharRNN

Ids = NDArray[np.integer[Any]]

HELD_OUT_CHARS = 50_000
"""How much of the validation text `Model.novelty` compares: a share is as steady as its text is long."""
SAMPLING_PRECISIONS = ("auto", "int8", "fp32")
UNKNOWN_WAYS = ("error", "skip", "nearest")
MAX_COUNT = 4096
"""Samples at once."""


class SamplingOptions(TypedDict, total=False):
    """How a text is drawn. Each is checked where it is used, and a UsageError names the option and its range."""

    length: int
    """Characters to write (bytes, with the byte alphabet). Default: 1000."""
    temperature: float
    """0 is greedy, 1 (default) the model's own distribution."""
    top_k: int | None
    top_p: float | None
    min_p: float | None
    """As in `generation.distribution.Shaping`."""
    seed: int
    """Default: 0."""
    prime: str | bytes
    """What comes before, of any length; not repeated. Default: a new line."""
    unknown: str
    """What becomes of a prime's characters that the model never saw: error (default), skip or nearest."""
    stops: Sequence[str]
    """Strings that end the text."""
    keep_stop: bool
    """Whether the stop string stays in the text."""
    ban: str
    """Characters that are never written."""
    max_line: int
    """A line of so many characters is ended. 0 (default): none is."""
    clamps: Mapping[tuple[int, int], float]
    """Cells (layer, unit) that are held at a value in [-1, 1] while writing, as Radford 2017 held one."""
    cell: tuple[int, int] | None
    """A cell (layer, unit) whose values come with the pieces."""
    precision: str
    """`int8` (`auto`): weights in eight bits, the same text on every machine; `fp32`: the weights as they are."""
    on_compile: OnCompile
    """Called before the loop is compiled that draws long texts, or reads long primes: some 10 seconds, once on a
    machine."""
    on_read: Callable[[int], object]
    """Told how many characters of the prime were read since it was last called."""


class Model:
    """A trained model: writes (without torch), predicts, and shows its cells.

    Attributes: `config`, `vocab`, `name` of the run, `step` it was saved at, `warnings` from loading it.
    """

    def __init__(
        self,
        config: Config,
        vocab: Vocab,
        tensors: dict[str, NDArray[Any]],
        *,
        name: str = "model",
        step: int = 0,
        corpus_digest: str | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.config = config
        self.vocab = vocab
        self.tensors = tensors
        self.name = name
        self.step = step
        self.corpus_digest = corpus_digest
        self.warnings = warnings
        self._last_reading: tuple[object, Reading] | None = None

    @cached_property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy and float32. Raises CheckpointError if weights do not fit."""
        return self._make_stepper("fp32")

    @cached_property
    def _int8_stepper(self) -> Stepper:
        return self._make_stepper("int8")

    def _make_stepper(self, precision: str) -> Stepper:
        stepper = Stepper(self.config, self.tensors, precision)
        self._check_alphabet(stepper.vocab_size)
        return stepper

    def _check_alphabet(self, vocab_size: int) -> None:
        if vocab_size != len(self.vocab):
            raise CheckpointError(
                f"The alphabet of {self.name} has {len(self.vocab)} characters, its weights know {vocab_size}."
            )

    def _stepper_for(self, precision: str, clamps: Mapping[tuple[int, int], float]) -> Stepper:
        if precision not in SAMPLING_PRECISIONS:
            raise UsageError(f"--precision is {precision}; it must be one of {', '.join(SAMPLING_PRECISIONS)}.")
        if not clamps:
            return self.stepper if precision == "fp32" else self._int8_stepper
        stepper = self._make_stepper("fp32" if precision == "fp32" else "int8")
        for (layer, unit), value in clamps.items():
            stepper.hold(layer, unit, value)
        return stepper

    @cached_property
    def network(self) -> "CharRNN":
        """The model in torch, on the CPU. Raises CheckpointError if weights are missing or misshapen."""
        import torch

        from charrnn.model.network import load_network

        self._check_alphabet(check_shapes(self.config, self.tensors))
        return load_network(self.config, len(self.vocab), {k: torch.from_numpy(v) for k, v in self.tensors.items()})

    def untrained_twin(self) -> "CharRNN":
        """The same network with freshly drawn weights: what cells look like that learned nothing."""
        from charrnn.model.network import CharRNN

        return CharRNN(replace(self.config, seed=(self.config.seed + 1) % 2**32), len(self.vocab))

    def encode_prime(self, prime: str | bytes, unknown: str = "error") -> Ids:
        """The ids that a model reads before it writes; a newline if `prime` is empty. Bytes are for the byte alphabet.

        Characters that the model never saw are an error, left out (`skip`), or read as the `nearest` that it knows.
        Raises DataError naming them, UsageError for another word.
        """
        if unknown not in UNKNOWN_WAYS:
            raise UsageError(f"--unknown is {unknown}; it must be one of {', '.join(UNKNOWN_WAYS)}.")
        missing = self.vocab.unknown_characters(prime)
        if missing and unknown == "error":
            shown = ", ".join(f"{character!r}" for character in missing[:8])
            raise DataError(
                f"The model {self.name} never saw {shown} (of the prime). Leave them out, say --unknown skip or "
                "nearest, or train with --alphabet byte, which knows every character."
            )
        if missing and isinstance(prime, str):
            nearest = {ord(c): self.vocab.nearest(c) if unknown == "nearest" else "" for c in missing}
            prime = prime.translate(nearest)
        return self.vocab.encode(prime) if prime else start_ids(self.vocab)

    def stream(self, **options: "Unpack[SamplingOptions]") -> Iterator[Piece]:
        """Yield a text piece by piece, as it is drawn: (text, log-probability in nats, value of `cell`).

        A piece is a character; with the byte alphabet it is "" until the bytes of a character are complete.
        Raises UsageError for an option out of range, DataError for a prime with characters the model never saw.
        """
        return write_text(self._draw([{}], **options), self._text_stream(options))

    def write(self, **options: "Unpack[SamplingOptions]") -> Iterator[str]:
        """Yield the text of `stream` in larger chunks, as fast as it can be drawn. Raises as `stream` does."""
        return write_chunks(self._draw([{}], **options), self._text_stream(options))

    def sample(self, **options: "Unpack[SamplingOptions]") -> GeneratedText:
        """Draw a text after a prime (which is not repeated). Raises as `stream` does."""
        return _joined(list(self.stream(**options)), options.get("seed", 0))

    def samples(
        self, count: int, *, temperatures: Sequence[float] = (), **options: "Unpack[SamplingOptions]"
    ) -> list[GeneratedText]:
        """Draw `count` texts at once: text i is the same however many there are, and the first is that of `sample`.

        With `temperatures`, a text for each of them instead, all by the same random numbers. Raises as `stream` does.
        """
        if temperatures:
            changes: list[dict[str, Any]] = [{"temperature": temperature, "stream": 0} for temperature in temperatures]
        elif 1 <= count <= MAX_COUNT:
            changes = [{"stream": stream} for stream in range(count)]
        else:
            raise UsageError(f"--count is {count}; it must be between 1 and {MAX_COUNT}.")
        streams = [self._text_stream(options) for _ in changes]
        written = write_texts(self._draw(changes, **options), streams)
        return [_joined(pieces, options.get("seed", 0)) for pieces in written]

    def _text_stream(self, options: SamplingOptions) -> TextStream:
        stops = options.get("stops", ())
        stops = (stops,) if isinstance(stops, str) else stops
        if "" in stops:
            raise UsageError("--stop is empty; give the text that is to end the sample.")
        return TextStream(self.vocab, stops, keeps_stop=options.get("keep_stop", False))

    def _draw(
        self,
        changes: Sequence[Mapping[str, Any]],
        *,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        prime: str | bytes = "",
        unknown: str = "error",
        stops: Sequence[str] = (),
        keep_stop: bool = False,
        ban: str = "",
        max_line: int = 0,
        clamps: Mapping[tuple[int, int], float] = MappingProxyType({}),
        cell: tuple[int, int] | None = None,
        precision: str = "auto",
        on_compile: OnCompile = lambda: None,
        on_read: Callable[[int], object] = lambda num_chars: None,
    ) -> Iterator[Block]:
        """The ids of a stream for each of `changes` (its `temperature` and number, where they differ)."""
        if length < 0:
            raise UsageError(f"--length is {length}; it must be 0 or more.")
        if max_line < 0:
            raise UsageError(f"--max-line is {max_line}; it must be 1 or more.")
        if seed < 0:
            raise UsageError(f"--seed is {seed}; it must be 0 or more.")
        stepper = self._stepper_for(precision, clamps)
        if cell is not None:
            stepper.check_cell(*cell)
        banned = (*unwritable_ids(self.vocab), *self._banned_ids(ban))
        newline = int(start_ids(self.vocab)[0])
        if max_line and (self.vocab.characters[newline] != "\n" or newline in banned):
            raise UsageError("--max-line needs a newline, which this model cannot write.")
        shapings = [
            Shaping(
                temperature=change.get("temperature", temperature),
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                banned=banned,
            )
            for change in changes
        ]
        seeds = [(seed, change.get("stream", 0)) for change in changes]
        reading = self._reading_of(self.encode_prime(prime, unknown), stepper, on_compile, on_read)
        return sample_ids(
            stepper,
            reading,
            shapings,
            seeds,
            length=length,
            max_line=max_line,
            newline=newline,
            cell=cell,
            on_compile=on_compile,
        )

    def _banned_ids(self, ban: str) -> set[int]:
        """Ids of the characters of `ban`; ones that the model never saw are never written anyway."""
        if self.vocab.kind == "byte" and not ban.isascii():
            raise UsageError(f"--ban is {ban!r}; a model of bytes can only be kept from ASCII characters.")
        known = set(ban) - set(self.vocab.unknown_characters(ban))
        banned = set(self.vocab.encode("".join(sorted(known))).tolist())
        if len(banned) + len(unwritable_ids(self.vocab)) >= len(self.vocab):
            raise UsageError("--ban leaves no character that could be written.")
        return banned

    def _reading_of(
        self, prime: Ids, stepper: Stepper, on_compile: OnCompile, on_read: Callable[[int], object]
    ) -> Reading:
        """What the model knows after `prime`; the last one is remembered, so that a long prime is read once."""
        key = (prime.tobytes(), stepper.precision, repr(stepper.held))
        if self._last_reading is None or self._last_reading[0] != key:
            self._last_reading = key, read_prime(stepper, prime, on_compile, on_read)
        return self._last_reading[1]

    def beam(self, **options: Any) -> list[GeneratedText]:
        """The best texts that a beam search finds after `prime`, best first. Options, errors: as `search`."""
        search = self.search(**options)
        for _ in search:
            pass
        return search.texts

    def search(
        self,
        *,
        width: int = 8,
        length: int = 200,
        mode: Mode = "plain",
        groups: int | None = None,
        diversity: float | None = None,
        length_penalty: float = 0.0,
        no_repeat: int | None = None,
        stops: Sequence[str] = (),
        keep_stop: bool = False,
        ban: str = "",
        seed: int = 0,
        prime: str | bytes = "",
        unknown: str = "error",
        clamps: Mapping[tuple[int, int], float] = MappingProxyType({}),
    ) -> TextSearch:
        """A beam search for what comes after `prime`, to be iterated over: it yields the best text as it gets certain.

        The options are those of `BeamOptions` and `SamplingOptions`; the weights are taken as they are (fp32). With the
        byte alphabet `length` and `no_repeat` count bytes. Raises UsageError for an option out of range or a stop
        string with characters the model never saw, DataError for such a prime.
        """
        for stop in stops:
            if missing := self.vocab.unknown_characters(stop):
                raise UsageError(
                    f"--stop is {stop!r}, but the model {self.name} never saw {missing[0]!r} and so never writes it. "
                    "Leave it out."
                )
        options = BeamOptions(
            width=width,
            length=length,
            mode=mode,
            groups=groups,
            diversity=diversity,
            length_penalty=length_penalty,
            no_repeat=no_repeat,
            stops=tuple(tuple(self.vocab.encode(stop).tolist()) for stop in stops),
            banned=(*unwritable_ids(self.vocab), *self._banned_ids(ban)),
            seed=seed,
        )
        search = BeamSearch(self._stepper_for("fp32", clamps), self.encode_prime(prime, unknown), options)
        return TextSearch(search, self.vocab, stops, keeps_stop=keep_stop)

    def predict(self, text: str | bytes, *, top: int = 5, unknown: str = "error") -> list[Prediction]:
        """The `top` likeliest characters after `text` and their probabilities, likeliest first.

        An empty text stands for a new line. The unknown symbol is left out, the others sum to 1. A byte that is no
        character by itself is spelled `\\xNN`. Raises DataError as `encode_prime` does.
        """
        if top < 1:
            raise UsageError(f"--top is {top}; it must be at least 1.")
        logits = read_prime(self.stepper, self.encode_prime(text, unknown)).logits
        probs = next_char_probs(logits, Shaping(banned=unwritable_ids(self.vocab)))[0]
        likeliest = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(unwritable_ids(self.vocab)))]
        return [Prediction(character=self.spell(int(i)), probability=float(probs[i])) for i in likeliest]

    def spell(self, char: int) -> str:
        """An id by itself: its character, `\\xNN` for a byte that is none, nothing for the unknown symbol."""
        return f"\\x{char:02x}" if self.vocab.kind == "byte" and char >= 128 else self.vocab.characters[char]

    def held_out_text(self, part: str = "validation") -> tuple[str | bytes, str | bytes]:
        """The run's `validation` or `test` text, and all text before it (its context), read again from the corpus.

        Raises DataError if the corpus is not there any more, came from standard input, or has changed; UsageError if
        the run has no such part.
        """
        index = {"validation": 1, "test": 2}.get(part)
        if index is None:
            raise UsageError(f"There is no part {part!r}; use validation or test.")
        if index >= len(self.config.split):
            raise UsageError(f"{self.name} has no test text: it was trained without --split 80/10/10.")
        content = self._read_corpus_again("Give --text FILE.")
        held_out = split_ids(len(content), self.config.split)[index]
        return content[held_out], content[: held_out.start]

    def novelty(self, text: str | bytes, *, min_length: int = MIN_LENGTH) -> Novelty:
        """What of `text` is copied from the run's training text, which is read again; see `find_copies`.

        `Novelty.text`, which the offsets belong to, is `text` spelled as the corpus is: with LF line ends or, for the
        byte alphabet, as bytes. Characters outside the model's alphabet are compared like any other.
        `held_out_share` is what the first `HELD_OUT_CHARS` characters of the validation text share with the training
        text: names, idioms and licences recur without any copying. A share near it is no sign of copying.
        Raises DataError as `held_out_text` does and for a text too long, UsageError for a `min_length` under 1.
        """
        if self.vocab.kind == "byte":
            text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        elif isinstance(text, str):
            text = text.replace("\r\n", "\n")
        content = self._read_corpus_again("What is copied shows only beside the text it learned from.")
        training, validation = split_ids(len(content), self.config.split)[:2]
        learned, held_out = content[training], content[validation][:HELD_OUT_CHARS]
        expected = find_copies(held_out, learned, min_length=min_length).share_copied
        return replace(find_copies(text, learned, min_length=min_length), held_out_share=expected)

    def _read_corpus_again(self, remedy: str) -> str | bytes:
        """The run's whole text. Raises DataError, mostly ended by `remedy`, if it is gone or not what it was."""
        if "-" in self.config.corpus:
            raise DataError(f"{self.name} learned from standard input, which is gone. {remedy}")
        corpus = read_corpus(self.config.corpus, alphabet=self.config.alphabet)
        if self.corpus_digest is not None and corpus.digest != self.corpus_digest:
            raise DataError(f"The text of {self.name} has changed since it was trained. {remedy}")
        return corpus.content

    def trace(
        self,
        text: str | bytes,
        *,
        context: str | bytes = "",
        network: "CharRNN | None" = None,
        on_progress: Callable[[int], object] = lambda num_chars: None,
        num_guesses: int = 0,
        keeps_hidden: bool = False,
    ) -> "Trace":
        """Every cell's value at every character of `text`, read after `context`, of which nothing is kept.

        `network` puts another network (such as `untrained_twin()`) in the model's place; `num_guesses` and
        `keeps_hidden` ask for what a `Trace` else leaves out. Raises DataError for an empty text.
        """
        from charrnn.microscope.trace import trace_ids

        ids, first, spelled = self._encode_after(text, context)
        return trace_ids(
            network or self.network,
            ids,
            first,
            spelled,
            on_progress,
            num_guesses=num_guesses,
            keeps_hidden=keeps_hidden,
        )

    def _encode_after(self, text: str | bytes, context: str | bytes) -> tuple[NDArray[np.uint16], int, str]:
        """The ids of `context` and `text`, where the latter begin, and one character for each of those.

        Raises DataError for an empty text.
        """
        ids = self.vocab.encode(text)
        if len(ids) == 0:
            raise DataError("There is no text to look at: it is empty.")
        before = self.vocab.encode(context)
        spelled = "".join(map(chr, ids)) if self.vocab.kind == "byte" else self.vocab.decode(ids)
        return np.concatenate((before, ids)), len(before), spelled

    def ablate(
        self,
        layer: int,
        unit: int,
        text: str | bytes,
        *,
        context: str | bytes = "",
        detectors: "Sequence[str | Detector] | None" = None,
        at: str = "mean",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> Ablation:
        """What holding a cell at its `mean` over `text`, or at `zero`, adds to the loss, inside and outside the spans
        of each named detector (all, if none is named).

        The text is read after `context`, twice. Raises UsageError for a cell, detector or `at` there is not, DataError
        for a text under 2 characters.
        """
        from charrnn.microscope.causal import WAYS, ablate_ids
        from charrnn.microscope.detectors import get_detectors

        self.stepper.check_cell(layer, unit)
        if at not in WAYS:
            raise UsageError(f"A cell cannot be held at {at!r}; use {' or '.join(WAYS)}.")
        found = get_detectors(detectors)
        ids, first, spelled = self._encode_after(text, context)
        if len(spelled) < 2:
            raise DataError("The text has 1 character; what a cell adds to its loss needs at least 2.")
        return ablate_ids(
            self.network, ids, first, spelled, found, layer=layer, unit=unit, at=at, on_progress=on_progress
        )

    def gates(
        self,
        text: str | bytes,
        *,
        context: str | bytes = "",
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> GateReport:
        """How often each gate of each unit is saturated in `text`, read after `context`.

        Raises UsageError for a cell without gates, DataError for an empty text.
        """
        from charrnn.microscope.gates import watch_gates

        ids, first, _ = self._encode_after(text, context)
        return watch_gates(self.network, ids, first, name=self.name, on_progress=on_progress)

    def gradients(
        self,
        text: str | bytes,
        *,
        context: str | bytes = "",
        max_lag: int = 200,
        network: "CharRNN | None" = None,
        name: str | None = None,
        on_progress: Callable[[int], object] = lambda num_losses: None,
    ) -> GradientReach:
        """How far the error signal reaches back in `text`, read after `context`: its mean norm by lag, up to `max_lag`.

        `network` puts another network (such as `untrained_twin()`) in the model's place, `name` what the result is
        called in the place of the run's. Raises UsageError for a `max_lag` under 1, DataError for a text too short.
        """
        from charrnn.microscope.gradients import measure_reach

        ids, first, _ = self._encode_after(text, context)
        return measure_reach(
            network or self.network, ids, first, max_lag=max_lag, name=name or self.name, on_progress=on_progress
        )

    def survey(
        self,
        text: str | bytes,
        *,
        context: str | bytes = "",
        detectors: "Sequence[str | Detector] | None" = None,
        untrained: bool = True,
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> CellFindings:
        """The best cell for each named detector (all, if none is named), as `find_cells`, without keeping a trace.

        A text of any length is read once, after `context`, and up to 262,144 characters of it by an untrained twin
        unless `untrained` is false; `on_progress` is told of both. Raises UsageError, DataError.
        """
        from charrnn.microscope.detectors import get_detectors
        from charrnn.microscope.survey import Read, survey
        from charrnn.microscope.trace import stream_cells

        ids, before = self.vocab.encode(text), self.vocab.encode(context)
        spelled = "".join(map(chr, ids)) if self.vocab.kind == "byte" else self.vocab.decode(ids)
        all_ids = np.concatenate((before, ids))

        def reader(network: "CharRNN") -> Read:
            return lambda begin, end: stream_cells(network, all_ids[: len(before) + end], len(before) + begin)

        return survey(
            spelled,
            reader(self.network),
            self.network.hidden_size,
            get_detectors(detectors),
            reader(self.untrained_twin()) if untrained else None,
            on_progress,
        )


def _joined(pieces: Sequence[Piece], seed: int) -> GeneratedText:
    return GeneratedText(
        text="".join(piece.text for piece in pieces), logprobs=tuple(piece.logprob for piece in pieces), seed=seed
    )


def load(run: str | Path | None = None, *, checkpoints: Path = Path("checkpoints")) -> Model:
    """Load a run's best saved step (its latest, if nothing was validated yet); without `run`, the newest run's.

    Raises CheckpointError if there is no such run or nothing in it can be verified.
    """
    folder = open_run(None if run is None else str(run), checkpoints)
    return _model_of(folder, folder.load_best())


def load_steps(run: str | Path | None = None, *, checkpoints: Path = Path("checkpoints")) -> Iterator[Model]:
    """Load every saved step of a run that is whole, from the first to the last. Raises as `load` does."""
    folder = open_run(None if run is None else str(run), checkpoints)
    for name in folder.steps():
        loaded = folder.load_step(name, with_training=False)
        if loaded.name == name:  # else it is damaged, and another was taken
            yield _model_of(folder, loaded)


def _model_of(folder: RunFolder, loaded: LoadedStep) -> Model:
    digest = loaded.state.get("corpus_digest")
    return Model(
        folder.read_config(),
        Vocab.from_json(folder.read_vocab_json()),
        dict(loaded.model),
        name=folder.path.name,
        step=loaded.step,
        corpus_digest=digest if isinstance(digest, str) else None,
        warnings=loaded.warnings,
    )


def follow_cells(
    findings: CellFindings,
    models: Iterable[Model],
    text: str | bytes,
    *,
    context: str | bytes = "",
    detectors: "Sequence[str | Detector] | None" = None,
    on_progress: Callable[[int], object] = lambda num_chars: None,
) -> tuple[CellHistory, ...]:
    """How the cells of `findings` came to follow their detectors in `models` (`load_steps`) of the same run.

    The text is read by each model after `context`. Raises UsageError, DataError.
    """
    from charrnn.microscope.detectors import get_detectors
    from charrnn.microscope.statistics import strength

    by_name = {detector.name: detector for detector in get_detectors(detectors)}
    steps: list[int] = []
    values: list[list[float]] = [[] for _ in findings.scores]
    for model in models:
        trace = model.trace(text, context=context, on_progress=on_progress)
        steps.append(model.step)
        for score, found in zip(findings.scores, values, strict=True):
            labels = by_name[score.detector].label(trace.text)
            assert labels is not None, "a scored detector has labels"
            signed = strength(trace.cells[:, score.layer, score.unit], labels, score.polarity)
            found.append(signed)
    return tuple(
        CellHistory(
            detector=score.detector,
            layer=score.layer,
            unit=score.unit,
            is_auc=score.auc is not None,
            steps=tuple(steps),
            values=tuple(found),
        )
        for score, found in zip(findings.scores, values, strict=True)
    )


def find_cells(
    trace: "Trace", detectors: "Sequence[str | Detector] | None" = None, *, untrained: "Trace | None" = None
) -> CellFindings:
    """The best cell of `trace` for each named detector (all, if none is named), chosen on its first half, scored on
    the second; `untrained` is an untrained twin's trace of the same text. Raises UsageError, DataError."""
    from charrnn.microscope import scores
    from charrnn.microscope.detectors import get_detectors

    return scores.find_cells(trace, get_detectors(detectors), untrained)


def evaluate(
    model: Model,
    text: str | bytes,
    *,
    context: str | bytes = "",
    protocol: str = "stateful",
    precision: str = "auto",
) -> LossReport:
    """Mean loss of `model` over `text`: `stateful` (read after `context`, state carried) or `windowed-256`.

    A long text is read in up to 32 lanes, each warmed up on the 512 characters before it. Without context the first
    character is not scored: nothing predicts it. `num_chars` counts what was scored. Raises DataError for a text too
    short, UsageError for an unknown protocol or precision.
    """
    from charrnn.evaluation.loss import NUM_WINDOWS, WINDOWED_LENGTH, bits, stateful_nats, windowed_nats

    ids = model.vocab.encode(text)
    before = model.vocab.encode(context)
    if protocol == "stateful":
        if len(ids) < 2:
            raise DataError(f"The text has {len(ids)} characters; its loss needs at least 2.")
        first = max(1, len(before))
        nats = stateful_nats(model.network, np.concatenate((before, ids)), first, precision=precision)
        num_scored = len(before) + len(ids) - first
    elif protocol == "windowed-256":
        if len(ids) <= WINDOWED_LENGTH:
            raise DataError(f"The text has {len(ids)} characters; windowed-256 needs at least {WINDOWED_LENGTH + 1}.")
        nats = windowed_nats(model.network, ids, precision=precision)
        num_scored = NUM_WINDOWS * WINDOWED_LENGTH
    else:
        raise UsageError(f"There is no protocol {protocol!r}; use stateful or windowed-256.")
    num_bytes = len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else len(text)
    return LossReport(
        protocol=protocol,
        nats_per_char=nats,
        bpc=bits(nats),
        bits_per_byte=bits(nats) * len(ids) / num_bytes,
        num_chars=num_scored,
        num_unknown=int((ids == 0).sum()) if model.vocab.kind == "char" else 0,
    )
