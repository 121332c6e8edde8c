"""The public Python interface: the same verbs as on the command line, with the same names for options."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config import Config
from charrnn.errors import CheckpointError, DataError, UsageError
from charrnn.generation.beam import beam_search
from charrnn.generation.distribution import Shaping, next_char_probs
from charrnn.generation.sampling import sample_text, start_ids, unwritable_ids
from charrnn.model.stepper import Stepper
from charrnn.records import CellFindings, GeneratedText, LossReport, Prediction
from charrnn.runs.finding import open_run
from charrnn.runs.folder import RunFolder
from charrnn.text.corpus import read_corpus
from charrnn.text.lanes import split_ids
from charrnn.text.vocab import Vocab

if TYPE_CHECKING:
    from charrnn.microscope.trace import Trace
    from charrnn.model.network import CharRNN

Ids = NDArray[np.integer[Any]]


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

    @cached_property
    def stepper(self) -> Stepper:
        """The model one character at a time, in NumPy. Raises CheckpointError if weights do not fit."""
        stepper = Stepper(self.config, self.tensors)
        if stepper.vocab_size != len(self.vocab):
            raise CheckpointError(
                f"The alphabet of {self.name} has {len(self.vocab)} characters, its weights know {stepper.vocab_size}."
            )
        return stepper

    @cached_property
    def network(self) -> "CharRNN":
        """The model in torch, on the CPU. Raises CheckpointError if weights are missing or misshapen."""
        import torch

        from charrnn.model.network import load_network

        try:
            return load_network(self.config, len(self.vocab), {k: torch.from_numpy(v) for k, v in self.tensors.items()})
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:150]
            raise CheckpointError(f"The weights of {self.name} do not fit its config.yaml: {reason}") from None

    def untrained_twin(self) -> "CharRNN":
        """The same network with freshly drawn weights: what cells look like that learned nothing."""
        from charrnn.model.network import CharRNN

        return CharRNN(replace(self.config, seed=(self.config.seed + 1) % 2**32), len(self.vocab))

    def encode_prime(self, prime: str | bytes) -> Ids:
        """The ids that a model reads before it writes; a newline if `prime` is empty. Bytes are for the byte alphabet.

        Raises DataError naming the characters of `prime` that the model never saw.
        """
        unknown = self.vocab.unknown_characters(prime)
        if unknown:
            shown = ", ".join(f"{character!r}" for character in unknown[:8])
            raise DataError(
                f"The model {self.name} never saw {shown} (of the prime). "
                "Leave them out, or train with --alphabet byte, which knows every character."
            )
        return self.vocab.encode(prime) if prime else start_ids(self.vocab)

    def stream(
        self,
        *,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        prime: str | bytes = "",
    ) -> Iterator[tuple[str, float]]:
        """Yield `length` (character, log-probability in nats) drawn after `prime`, as they are written.

        With the byte alphabet `length` counts bytes, and a piece is "" until the bytes of a character are complete.
        Raises UsageError for an option out of range, DataError for a prime with characters the model never saw.
        """
        if length < 0:
            raise UsageError(f"--length is {length}; it must be 0 or more.")
        shaping = Shaping(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        ids = self.encode_prime(prime)
        return sample_text(self.stepper, self.vocab, ids, shaping=shaping, seed=seed, length=length)

    def sample(
        self,
        *,
        length: int = 1000,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int = 0,
        prime: str | bytes = "",
    ) -> GeneratedText:
        """Draw `length` characters after `prime` (which is not repeated). Raises as `stream` does."""
        pieces = list(
            self.stream(
                length=length, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, prime=prime
            )
        )
        return GeneratedText(
            text="".join(piece for piece, _ in pieces), logprobs=tuple(logprob for _, logprob in pieces), seed=seed
        )

    def beam(self, *, width: int = 8, length: int = 200, prime: str | bytes = "") -> list[GeneratedText]:
        """The likeliest texts that a beam of `width` finds after `prime`, best first. Raises as `beam_search` does."""
        beams = beam_search(
            self.stepper, self.encode_prime(prime), width=width, length=length, banned=unwritable_ids(self.vocab)
        )
        return [GeneratedText(text=self.vocab.decode(beam.ids), logprobs=beam.logprobs) for beam in beams]

    def predict(self, text: str, *, top: int = 5) -> list[Prediction]:
        """The `top` likeliest characters after `text` and their probabilities, likeliest first.

        An empty text stands for a new line. The unknown symbol is left out, the others sum to 1. A byte that is no
        character by itself is spelled `\\xNN`. Raises DataError as `encode_prime` does.
        """
        if top < 1:
            raise UsageError(f"--top is {top}; it must be at least 1.")
        logits, _ = self.stepper.read(self.encode_prime(text))
        probs = next_char_probs(logits, Shaping(banned=unwritable_ids(self.vocab)))[0]
        likeliest = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(unwritable_ids(self.vocab)))]
        return [Prediction(character=self._spell(int(i)), probability=float(probs[i])) for i in likeliest]

    def _spell(self, char: int) -> str:
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
        if "-" in self.config.corpus:
            raise DataError(f"{self.name} learned from standard input, which is gone. Give --text FILE.")
        corpus = read_corpus(self.config.corpus, alphabet=self.config.alphabet)
        if self.corpus_digest is not None and corpus.digest != self.corpus_digest:
            raise DataError(f"The text of {self.name} has changed since it was trained. Give --text FILE.")
        held_out = split_ids(len(corpus.content), self.config.split)[index]
        return corpus.content[held_out], corpus.content[: held_out.start]

    def trace(
        self,
        text: str | bytes,
        *,
        context: str | bytes = "",
        network: "CharRNN | None" = None,
        on_progress: Callable[[int], object] = lambda num_chars: None,
    ) -> "Trace":
        """Every cell's value at every character of `text`, read after `context`, of which nothing is kept.

        `network` puts another network (such as `untrained_twin()`) in the model's place.
        Raises DataError for an empty text.
        """
        from charrnn.microscope.trace import trace_ids

        ids = self.vocab.encode(text)
        if len(ids) == 0:
            raise DataError("There is no text to look at: it is empty.")
        before = self.vocab.encode(context)
        spelled = "".join(map(chr, ids)) if self.vocab.kind == "byte" else self.vocab.decode(ids)
        all_ids = np.concatenate((before, ids))
        return trace_ids(network or self.network, all_ids, len(before), spelled, on_progress)


def load(run: str | Path | None = None, *, checkpoints: Path = Path("checkpoints")) -> Model:
    """Load a run's best saved step (its latest, if nothing was validated yet); without `run`, the newest run's.

    Raises CheckpointError if there is no such run or nothing in it can be verified.
    """
    folder: RunFolder = open_run(None if run is None else str(run), checkpoints)
    config = folder.read_config()
    vocab = Vocab.from_json(folder.read_vocab_json())
    loaded = folder.load_step("best" if folder.read_pointer("best") else "latest", with_training=False)
    digest = loaded.state.get("corpus_digest")
    return Model(
        config,
        vocab,
        dict(loaded.model),
        name=folder.path.name,
        step=loaded.step,
        corpus_digest=digest if isinstance(digest, str) else None,
        warnings=loaded.warnings,
    )


def find_cells(
    trace: "Trace", detectors: Sequence[str] | None = None, *, untrained: "Trace | None" = None
) -> CellFindings:
    """The best cell of `trace` for each named detector (all, if none is named), chosen on its first half, scored on
    the second; `untrained` is an untrained twin's trace of the same text. Raises UsageError, DataError."""
    from charrnn.microscope import scores
    from charrnn.microscope.detectors import get_detectors

    return scores.find_cells(trace, get_detectors(list(detectors) if detectors else None), untrained)


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
