"""Generate text with a trained model: draw samples, search for the most likely text with a beam, or
predict the next character. Nothing here needs torch."""

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.config.options import at_least, check
from charrnn.config.settings import Config
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.generation import sampling
from charrnn.generation.beam import Beam, BeamSearch
from charrnn.generation.distribution import char_weights, log_softmax
from charrnn.generation.generated_text import GeneratedText, Prediction
from charrnn.generation.known_words import WordTable
from charrnn.generation.patterns import Pattern, match_text
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import (
    DEFAULT_TOP,
    DEFAULT_UNKNOWN,
    UNKNOWN_CHOICES,
    Clamps,
    SampleOptions,
    SearchOptions,
    SeveralOptions,
)
from charrnn.generation.sampling import Ids, PrimedModel, Rows, TextToDraw
from charrnn.generation.writing import Ending, WrittenText
from charrnn.model.shapes import check_finite, check_vocab_size
from charrnn.model.stepper import Stepper
from charrnn.text.copies import loose_key
from charrnn.text.documents import END
from charrnn.text.given_text import as_read
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import WordList

MAX_ROWS = 256
"""The largest number of texts that are drawn side by side: more do not fit into the caches of a
core."""
GROUP_CHARS = 2_000_000
"""The largest number of characters of several texts that are drawn together, unless a single text
is longer. A text waits in memory, at about 24 bytes a character, until the texts before it are
handed over."""
MOST_REJECTED = 1_000
"""The number of texts in a row that may be rejected before this is an error. If one text of a
hundred is accepted, so many rejections in a row happen once in 20,000 texts."""
NUM_PROBED = 4
"""Characters that a model reads when it is loaded, to find weights whose predictions are not
finite."""
MAX_FRESH_SEED = 2**31 - 1
"""Largest seed that `fresh_seed` draws: small enough to type."""


def fresh_seed() -> int:
    """Draw a seed between 0 and `MAX_FRESH_SEED` from the operating system's random numbers.

    A command draws it before the text, to be able to name it afterwards.
    """
    return secrets.randbelow(MAX_FRESH_SEED + 1)


NEWLINE_SHARE = 0.02
"""Probability from which a model expects a newline. In War and Peace, the probability of a newline
is 0.86 after the newline that ends a sentence, and 0.01 after the blank line."""
MAX_NEWLINES = 3
"""The largest number of newlines that are read before a text without a prime: Python has two blank
lines before a class."""


def start_ids(vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the ids that replace an empty prime: a newline, or the first character of an alphabet
    without a newline.

    It stands for a prime of "". Without any prime (None), `opening_ids` are read, which begin a
    text better.

    In a model of documents they are END, `end_id`, after which a document begins.
    """
    if end_id is not None:
        return np.array([end_id], np.uint16)
    if vocab.kind == "byte" or not vocab.unknown_characters("\n"):
        return vocab.encode("\n")
    # Id 0 is no character if it is the unknown symbol.
    first = 1 if vocab.has_unknown_symbol else 0
    return np.array([first], np.uint16)


def opening_ids(stepper: Stepper, vocab: Vocab, end_id: int | None = None) -> NDArray[np.uint16]:
    """Return the ids (N,) that are read before a text without a prime, so that it begins like the
    training text.

    These are the `start_ids`. If the model expects a newline after a full stop, a full stop comes
    before them; if it expects more newlines after a newline, as many follow. The training text is
    not needed, because the model's predictions show how its texts begin; `stepper` has no clamps.
    """
    start = start_ids(vocab, end_id)
    if end_id is not None or vocab.decode(start) != "\n":
        return start

    # Blank lines alone are not enough if the lines of the training text are wrapped: a model of War
    # and Peace goes on in mid-sentence after two newlines (74 %), but not after two newlines that
    # follow a full stop (1 %).
    ids = start
    state = None
    if not vocab.unknown_characters("."):
        sentence_end = vocab.encode(".")
        logits, after_sentence = stepper.read(sentence_end)
        if _expects_newline(logits, newline=start[0]):
            ids = np.concatenate((sentence_end, start))
            state = after_sentence

    # More newlines as long as the model expects them. The number is limited, because an untrained
    # model with a small alphabet always expects them.
    for _ in range(MAX_NEWLINES - 1):
        logits, state = stepper.read(start, state)
        if not _expects_newline(logits, newline=start[0]):
            break
        ids = np.concatenate((ids, start))
    return ids


def _expects_newline(logits: NDArray[np.floating], newline: int) -> bool:
    """Return whether a model with logits (1, V) expects a newline."""
    return bool(log_softmax(logits)[0, newline] >= math.log(NEWLINE_SHARE))


def undrawable_ids(vocab: Vocab, end_id: int | None = None) -> tuple[int, ...]:
    """Return the ids that stand for no character and are never drawn: the unknown symbol, and END
    in a model without documents.

    Whoever shows or draws next characters leaves them out, and divides by the sum of the others.

    A model without documents (`end_id` None) has END in its alphabet if it started from a model
    with documents.
    """
    # Every byte can be drawn.
    if vocab.kind == "byte":
        return ()
    ids = []
    if vocab.has_unknown_symbol:
        ids.append(0)
    if end_id is None and END in vocab.characters:
        ids.append(vocab.characters.index(END))
    return tuple(ids)


class TextGenerator:
    """Generates text with a trained model.

    `Model.generator` is one, and needs no torch: `Model.sample` and its neighbours read a prime
    from its file and call it. A training has one of its averaged weights, for its samples.

    Every method raises DataError if the prime has characters that are not in the vocabulary (and
    `unknown` is `error`), UsageError if a clamped or shown cell does not exist, or a character
    cannot be banned, and CheckpointError if the weights do not fit the configuration.
    """

    def __init__(
        self,
        config: Config,
        vocab: Vocab,
        tensors: dict[str, NDArray[Any]],
        *,
        name: str,
        word_list: Callable[[], WordList] | None = None,
    ):
        """Take the weights by name in `tensors`, the `name` of the run, which messages use, and a
        function that returns the words that the model has read, for texts of known words."""
        self.config = config
        self.vocab = vocab
        self.tensors = tensors
        self.name = name
        self._word_list = word_list
        self._steppers: dict[str, Stepper] = {}
        # The options of the rules that were made last, and the rules.
        self._last_rules: tuple[object, Rules] | None = None
        # The key of the prime that was read last, and the model after it.
        self._last_primed: tuple[object, PrimedModel] | None = None

    def _make_stepper(self, precision: str) -> Stepper:
        stepper = Stepper(self.config, self.tensors, precision=precision)
        check_vocab_size(stepper.vocab_size, self.vocab, name=self.name)

        # Weights that have become nan are found here, and not as a text of one character.
        with np.errstate(all="ignore"):
            check_finite(
                stepper.read(np.arange(NUM_PROBED) % stepper.vocab_size)[0], what="predictions"
            )
        return stepper

    def stepper_for(self, precision: str, clamps: Clamps) -> Stepper:
        """Return the model that computes one character at a time in NumPy, with weights in a
        precision: `fp32`, or `int8`, whose sums are exact. If cells are clamped, the model is a new
        one. Raises CheckpointError if weights do not fit.

        It is for whoever reads characters without drawing any: a prediction, an explanation, a
        page.
        """
        if not clamps:
            if precision not in self._steppers:
                self._steppers[precision] = self._make_stepper(precision)
            return self._steppers[precision]

        # A clamp stays in a stepper, so this one is not kept.
        stepper = self._make_stepper(precision)
        for (layer, unit), value in clamps.items():
            stepper.clamp(layer, unit, value=value)
        return stepper

    def encode_prime(
        self, prime: str | bytes | None, unknown: str = DEFAULT_UNKNOWN, *, what: str = "prime"
    ) -> Ids:
        """Encode the prime, which is the text that a model reads before it writes.

        A caller needs it that measures a sample: what the model has read before it is the context
        of the measurement. An empty prime is encoded as a newline, and None as `opening_ids`. A
        prime of bytes is for the byte alphabet. A model of documents reads END before the prime.

        With `unknown="error"`, characters that are not in the vocabulary raise a DataError, which
        names them and calls the text `what`. With `unknown="nearest"`, the most similar character
        of the vocabulary is read instead of each of them, or nothing if there is none; a DataError
        is raised if nothing is left of the text. Raises UsageError for another word.
        """
        end_id = self.config.end_id
        if prime is None:
            # In one precision and without clamps, so that all texts of a model begin alike.
            stepper = self.stepper_for("int8", clamps={})
            return opening_ids(stepper, vocab=self.vocab, end_id=end_id)
        prime = self._known_text(prime, unknown, what=what)
        if end_id is None:
            if not prime:
                return start_ids(self.vocab)
            return self.vocab.encode(prime)

        # The state starts anew at an END, so that the text before the last END makes no difference.
        ids = np.concatenate((start_ids(self.vocab, end_id), self.vocab.encode(prime)))
        return ids[np.flatnonzero(ids == end_id)[-1] :]

    def _known_text(self, text: str | bytes, unknown: str, *, what: str) -> str | bytes:
        """Return a text without characters outside the vocabulary, as `encode_prime` reads it.

        `what` names the text in the message of the DataError.
        """
        check("unknown", unknown, allowed=UNKNOWN_CHOICES)
        text = as_read(text, self.config)

        # The message names a few of these characters: a text in another script has hundreds.
        missing = self.vocab.unknown_characters(text)
        if not missing or isinstance(text, bytes):
            return text
        if unknown == "error":
            shown = ", ".join(map(repr, missing[:8]))
            raise DataError(
                f"The {what} has characters that are not in the vocabulary of {self.name}: {shown}."
                f" Leave them out, use {named('unknown', 'nearest')}, or train with"
                f" {named('alphabet', 'byte')}, which knows all."
            )

        # An empty text would be read as a newline, which nobody has written.
        known = text.translate({ord(c): self.vocab.nearest(c) for c in missing})
        if not known:
            raise DataError(
                f"{self.name} knows no character of the {what}, and none that is similar. Give"
                " another one."
            )
        return known

    def prepare(self, options: SampleOptions) -> None:
        """Check the options against the model, and let it read the prime.

        A command names a new seed between this and `begin`. What is wrong with the options is said
        before the seed then, and the prime is read before it: what it leads to is kept for the
        text. Raises the errors of `begin`.
        """
        self._primed_model(options)
        self._ending(options)

    def begin(self, options: SampleOptions) -> TextToDraw:
        """Read the prime, and return a text that is drawn when it is taken: piece by piece, in
        chunks, or as a whole.

        It is the one text of a seed. For several texts use `iter_samples`, which draws them side by
        side. The options are the fields of `generation.sample_options.SampleOptions`. Raises
        DataError for a prime with characters outside the vocabulary.
        """
        primed = self._primed_model(options)
        ending = self._ending(options)
        text = WrittenText(self.vocab, ending, seed=_seed_of(options))
        rows = Rows(primed, texts=[text], ending=ending, options=options, num_chars=options.length)
        return TextToDraw(text, rows)

    def begin_each(
        self, count: int, options: SampleOptions, *, spares: int = 1
    ) -> Iterator[TextToDraw]:
        """Yield `count` texts, of which at most about `GROUP_CHARS` characters are kept in memory.
        Take a text before asking for the next one.

        Use it for several texts of which each is taken piece by piece, such as those of a command
        that shows them as they come; `iter_samples` takes each as a whole and can reject some. Text
        i does not depend on `count`: `begin` draws the same text with its seed
        (`sampling.seed_of_text`). Several texts are drawn side by side, and a text that is longer
        than `GROUP_CHARS` only when it is taken. Where some are rejected, up to `spares` texts
        stand for each of them. Raises UsageError if `count` is out of range.
        """
        check("count", count, allowed=at_least(1))
        first = _seed_of(options)
        end = sampling.seed_of_text(first, index=count * spares)
        seeds = range(first, end, sampling.NUM_SEEDS)
        num_rows = self._num_rows(options, count)
        if num_rows == 1:
            for seed in seeds:
                yield self.begin(replace(options, seed=seed))
            return

        primed = self._primed_model(options)
        ending = self._ending(options)
        rows = Rows(
            primed,
            texts=(WrittenText(self.vocab, ending, seed=seed) for seed in seeds),
            ending=ending,
            options=options,
            num_rows=num_rows,
            num_chars=count * options.length,
        )
        for text in rows.written_texts():
            yield TextToDraw(text, rows)

    def iter_samples(self, options: SeveralOptions) -> Iterator[GeneratedText]:
        """Yield the texts of `begin_each`, each as a whole.

        `Model.samples` returns its texts as a list.

        With `unique`, a text that was drawn before is rejected, whatever its case, blanks at its
        ends and form of Unicode; with `accept`, a text is rejected if `accept` returns False for
        it.

        Raises UsageError, when the first text is asked for, if `count` is out of range, and later
        after `MOST_REJECTED` rejected texts in a row.
        """
        count = options.count
        accept = options.accept
        spares = 1
        if options.unique or accept is not None:
            spares = MOST_REJECTED
        beginning = beginning_of(options.prime_text)
        seen = set[str]()
        num_found = 0
        num_rejected = 0
        for text in self.begin_each(count, options, spares=spares):
            drawn = text.whole()
            key = loose_key(drawn.text) if options.unique else ""
            num_rejected += 1
            if key not in seen and (accept is None or accept(beginning + drawn.text)):
                yield drawn
                num_found += 1
                num_rejected = 0
            if options.unique:
                seen.add(key)

            if num_found == count:
                return
            if num_rejected == MOST_REJECTED:
                raise _all_rejected(count, num_found)

    def beam(self, options: SearchOptions) -> list[GeneratedText]:
        """Return the best texts that a beam search finds, most likely first.

        The options are the fields of `generation.sample_options.SearchOptions`. Raises UsageError
        for an option out of range, and for a stop string with characters outside the vocabulary;
        DataError for a prime with such characters.
        """
        # A stop string with a character that the model does not know could never appear.
        for typed in options.stops:
            stop = as_read(typed, self.config)
            if missing := self.vocab.unknown_characters(stop):
                raise UsageError(
                    f"{named('stops')} has {stop!r}, but {missing[0]!r} is not in the vocabulary of"
                    f" {self.name}. Leave it out."
                )

        stepper = self.stepper_for("fp32", options.clamps)
        prime = self.encode_prime(options.prime_text, options.unknown)
        ending = self._ending(options)
        # An empty text is likely where documents are short, and tells nobody anything.
        never_first: list[int] = []
        if not options.prime_text:
            never_first = [stop[0] for stop in ending.stops if len(stop) == 1]
            if ending.end_id is not None:
                never_first.append(ending.end_id)
        search = BeamSearch(
            stepper=stepper, prime=prime, options=options, ending=ending, never_first=never_first
        )
        return [self._found_text(options, ending, beam) for beam in search.run()]

    def _found_text(self, options: SearchOptions, ending: Ending, beam: Beam) -> GeneratedText:
        """Decode a result of a search as a text that is drawn: up to its stop string, its END, or
        where no character may follow."""
        text = WrittenText(self.vocab, ending)
        text.add(list(beam.ids), logprobs=list(beam.logprobs), values=[0.0] * len(beam.ids))
        blocked_by = ending.rules.blocked_by(beam.state)
        if options.no_repeat is not None:
            blocked_by.append("no_repeat")
        text.end(blocked_by)
        return replace(text.result(), seed=None)

    def predict(
        self, text: str | bytes, *, top: int = DEFAULT_TOP, unknown: str = DEFAULT_UNKNOWN
    ) -> list[Prediction]:
        """Return the `top` most likely characters after `text` and their probabilities, most likely
        first.

        An empty text stands for a newline. For a model of documents, the text is the beginning of a
        document. The unknown symbol is left out, and the probabilities of all other symbols sum to
        1. Raises UsageError for a `top` under 1.
        """
        check("top", top, allowed=at_least(1))
        prime = self.encode_prime(text, unknown, what="text")
        [logits] = sampling.prime_model(self.stepper_for("fp32", clamps={}), prime).logits

        # Ids that stand for no character get the probability 0, and are left out of the list.
        excluded = undrawable_ids(self.vocab, self.config.end_id)
        is_excluded = np.zeros(len(self.vocab), np.bool_)
        is_excluded[list(excluded)] = True
        probs = char_weights(logits, SampleOptions(temperature=1), banned=is_excluded).probs
        most_likely = np.argsort(-probs, kind="stable")[: min(top, len(probs) - len(excluded))]
        return [
            Prediction(character=self.vocab.character(id), probability=float(probs[id]))
            for id in most_likely.tolist()
        ]

    def vocabulary(self) -> tuple[str, ...]:
        """Return the character of every id.

        Expressions and words are compared with these characters, in the order of the ids.
        """
        return tuple(map(self.vocab.character, range(len(self.vocab))))

    def _primed_model(self, options: SampleOptions) -> PrimedModel:
        """Check the options against the model, and let it read the prime. The last result is kept,
        so that a long prime is read once."""
        stepper = self.stepper_for(options.precision, options.clamps)
        if options.cell is not None:
            stepper.check_unit(*options.cell)
        prime = self.encode_prime(options.prime_text, options.unknown)
        # Another prime and other clamps lead to another state.
        key = prime.tobytes(), stepper.changes
        if self._last_primed is None or self._last_primed[0] != key:
            self._last_primed = key, sampling.prime_model(stepper, prime)
        return self._last_primed[1]

    def _ending(self, options: SampleOptions) -> Ending:
        """Return what may follow a text, and what ends it. Raises UsageError if no text can follow
        the rules."""
        stops = []
        for typed in options.stops:
            stop = as_read(typed, self.config)
            # One with a character that the model does not know never appears.
            if stop and not self.vocab.unknown_characters(stop):
                stops.append(tuple(self.vocab.encode(stop).tolist()))
        return Ending(
            length=options.length,
            rules=self._rules(options),
            end_id=self.config.end_id,
            stops=stops,
            prime=self._prime_of_text(options),
        )

    def _num_rows(self, options: SampleOptions, count: int) -> int:
        """Return how many of `count` texts are drawn side by side."""
        # An empty text needs no row.
        if options.length == 0:
            return 1
        num_chars = options.length
        if options.forbid is not None:
            # Each row keeps its prime, for functions of the text.
            num_chars += len(options.prime_text or "")
        most = max(1, min(GROUP_CHARS // num_chars, MAX_ROWS))

        # The texts are spread evenly over the rounds, because a row that has no text left is drawn
        # on until the other rows have ended.
        num_rounds = max(1, math.ceil(count / most))
        return max(1, math.ceil(count / num_rounds))

    def _prime_of_text(self, options: SampleOptions) -> list[int]:
        """Return the ids with which a text begins: those of the prime."""
        # Without a prime, the characters that the model reads first are no part of the text.
        if not options.prime:
            return []
        ids: list[int] = self.encode_prime(options.prime_text, options.unknown).tolist()
        return ids

    def _rules(self, options: SampleOptions) -> Rules:
        """Return what may follow a text. The last result is kept, because tables take time. Raises
        UsageError if no text can follow the rules."""
        key = options.match, options.ban, options.length, options.known_words, options.forbid
        if self._last_rules is None or self._last_rules[0] != key:
            self._last_rules = key, self._make_rules(options)
        rules = self._last_rules[1]
        if options.match is not None:
            rules.check_can_match(
                self._prime_of_text(options), length=options.length, match=options.match
            )
        return rules

    def _make_rules(self, options: SampleOptions) -> Rules:
        banned_ids = self.never_drawn(options.ban)
        banned = np.zeros(len(self.vocab), np.bool_)
        banned[list(banned_ids)] = True
        words = None
        if options.known_words:
            assert self._word_list is not None, "only a model that was loaded knows its words"
            words = WordTable.of(self._word_list(), self.vocab, banned=banned_ids)
        return Rules.of(
            banned,
            words=words,
            pattern=self._pattern(options),
            forbid=options.forbid,
            has_ban=options.ban != "",
        )

    def _pattern(self, options: SampleOptions) -> Pattern | None:
        """Return the pattern that the text must match, None if there is none. With the byte
        alphabet, a pattern matches ASCII. Raises UsageError if no text can match."""
        if options.match is None:
            return None
        # END is no character of a document: `Pattern` reads it where the text matches, unless it is
        # banned.
        end_id = self.config.end_id
        banned = self.never_drawn(options.ban)

        # A byte that is no character by itself has a name of several ones, \xNN, and stays "".
        characters = [""] * len(self.vocab)
        for id, character in enumerate(self.vocabulary()):
            if len(character) == 1 and id != end_id and id not in banned:
                characters[id] = character
        return match_text(
            as_read(options.match, self.config),
            tuple(characters),
            length=options.length,
            end_id=None if end_id in banned else end_id,
        )

    def never_drawn(self, ban: str) -> tuple[int, ...]:
        """Return the ids that are never drawn: ids that stand for no character, and the ids of the
        characters of `ban`.

        Rules, searches and draws get them as one list, and need not know why.
        """
        ban = as_read(ban, self.config)
        if self.vocab.kind == "byte" and not ban.isascii():
            raise UsageError(
                f"{named('ban')} is {ban!r}; with the byte alphabet only ASCII characters can be"
                " banned."
            )

        # Characters that the model does not know are never drawn anyway.
        known = set(ban) - set(self.vocab.unknown_characters(ban))
        banned_ids = set(self.vocab.encode("".join(sorted(known))).tolist())
        banned = (*undrawable_ids(self.vocab, self.config.end_id), *banned_ids)
        if len(banned) >= len(self.vocab):
            raise UsageError(f"{named('ban')} leaves no character to generate.")
        return banned


def _all_rejected(count: int, num_found: int) -> UsageError:
    """Return the error for too many texts in a row that were left out, after some were found."""
    change = f"{named('temperature')}: a lower one writes more that is valid, a higher one more"
    # Where no text was found, fewer would not be found either.
    if num_found == 0:
        return UsageError(
            f"the first {MOST_REJECTED:,} texts were left out. Change {change} that is new."
        )
    return UsageError(
        f"{named('count')} is {count:,}, and after {counted(num_found, 'text')} the next"
        f" {MOST_REJECTED:,} were left out. Ask for fewer, or change {change} that is new."
    )


def _seed_of(options: SampleOptions) -> int:
    """Return the seed of the first text: a new one if the options have none."""
    if options.seed is None:
        return fresh_seed()
    return options.seed


def beginning_of(prime: str | bytes | None) -> str:
    """Return the part of a prime with which the generated text begins.

    A text is shown after its prime, but not after other documents that were only read as examples.

    This is the whole prime, or its last document if the prime has several documents.
    """
    if isinstance(prime, bytes):
        prime = prime.decode("utf-8", "replace")
    return (prime or "").rpartition(END)[2]
