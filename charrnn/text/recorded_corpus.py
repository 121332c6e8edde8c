"""The corpus of a run: it is found again by its recorded location or by its name, and its digest is
checked."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, DataError, NotHereError, shortened
from charrnn.text.copies import trained_share
from charrnn.text.corpus import Corpus, CorpusPart
from charrnn.text.documents import Documents, split_text
from charrnn.text.source_reader import SourceReader
from charrnn.text.sources import (
    SORTED,
    Order,
    Origin,
    find_entry,
    find_origin,
    origin_at,
    standard_library,
)
from charrnn.text.vocab import Vocab, as_bytes

MAX_LOCATIONS_LENGTH = 200_000
"""Longest JSON of the locations of a corpus that is recorded; those of thousands of sources are
not."""
MAX_COMPARED = 1 << 25
"""Bytes of the files of a corpus that is compared with another text, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedCorpus:
    """What a run records of its text. A downloaded run is not trusted: it could name any file of
    this machine."""

    run: str
    """Name of the run, for messages."""
    config: Config
    """The configuration of the run: the sources as the user gave them, their order, the alphabet
    and the encoding."""
    locations: tuple[str | None, ...]
    """The location of each source (`Corpus.locations`); empty if none was recorded."""
    digest: str
    """SHA-256 of the text (`Corpus.digest`)."""
    model_file: str = ""
    """Name of the exported model file, which contains no text, instead of a run; "" for a run."""
    is_held_out: bool = False
    """Whether all of it is held out: another program trained the model, on another text."""

    def is_whole(self, text: str | bytes) -> bool:
        """Return whether a text, read as a corpus is, with its documents in the order of the files,
        is all of this."""
        digest = hashlib.sha256(as_bytes(text)).hexdigest()
        documents = Documents.of(self.config)
        return self.digest == (digest if documents is None else documents.digest(digest))

    def trained_share(self, text: str | bytes) -> float | None:
        """Return the share of a text that is training text: by the split for the whole corpus, else
        by its documents or long passages (`charrnn.text.copies.trained_share`).

        None for a corpus that is not at hand or is large.
        """
        if self.is_held_out:
            return None
        # Of the whole corpus the share is known.
        if self.is_whole(text):
            return self.config.split[0] / math.fsum(self.config.split)
        if not self._is_small():
            return None
        try:
            corpus = self.read()
        except CharRNNError:
            return None

        # Everything before the end of the training part was learned. As the corpus is stored.
        training = CorpusPart(corpus, begin=0, end=split_text(corpus.ids, self.config)[0].stop)
        if corpus.vocab.kind == "byte":
            text = as_bytes(text)
        return trained_share(text, training=training, config=self.config)

    def _is_small(self) -> bool:
        """Return whether the corpus consists of files that are here, of MAX_COMPARED bytes at
        most."""
        num_bytes = 0
        for place in self.locations:
            if place is None or not os.path.isfile(place):
                return False
            num_bytes += os.path.getsize(place)
        return len(self.locations) > 0 and num_bytes <= MAX_COMPARED

    def read(
        self,
        *,
        vocab: Vocab | None = None,
        instead: str = "",
        reason: str = "",
    ) -> Corpus:
        """Read the text from its recorded location or, if that fails, from where its name leads
        now.

        It is encoded in `vocab`, by default in a vocabulary of its own. Nothing is downloaded, and
        only regular files and standard input are read. Raises DataError if the text is missing,
        cannot be read or has changed. The message contains `instead`, the alternative to putting
        the text back ("give ..."), and ends with `reason`, why the text is needed. Raises
        CharRNNError if the ids of a large text cannot be written.
        """
        config = self.config
        alternative = f" or {instead}" if instead else ""
        # First where it was, then where its name leads. Standard input can be read only once.
        ways = [self.locations]
        if "-" not in config.corpus:
            ways.append(())
        tried: list[list[str | None]] = []
        missing: list[NotHereError] = []
        faults: list[DataError] = []
        for locations in ways:
            try:
                # Both ways often lead to the same files, which are not read twice.
                origins = self._origins(locations)
                where = [origin.location for origin in origins]
                if where in tried:
                    continue
                tried.append(where)

                # Its digest says whether it is the same text, before it is encoded.
                with SourceReader(
                    origins,
                    alphabet=config.alphabet,
                    encoding=config.encoding,
                    documents=Documents.of(config),
                    joins_lines=config.join_lines,
                ) as text:
                    if text.digest != self.digest:
                        faults.append(
                            DataError(self._changed(text, alternative=alternative, reason=reason))
                        )
                        continue
                    if vocab is None:
                        is_exact = config.alphabet == "exact"
                        vocab = text.own_vocab(min_count=config.min_count, is_exact=is_exact)
                    return Corpus.of(text, vocab)
            except NotHereError as error:
                missing.append(error)
            except DataError as error:
                what = f"The text of {self.run} cannot be read again: {error.marked}{alternative}"
                faults.append(DataError(what))

        # What is wrong with a text that is here says more than that it is not elsewhere.
        if faults:
            raise faults[0]
        raise DataError(self._not_here(missing[0].source, instead=instead, reason=reason)) from None

    def _origins(self, locations: tuple[str | None, ...]) -> list[Origin]:
        """Find each source at its recorded location if it exists, else by its name. Raises
        DataError."""
        sources = self.config.corpus
        order = Order(self.config.order, self.config.order_seed)
        if not sources:
            for folder in locations:
                if folder is not None and os.path.isdir(folder):
                    return [standard_library(order, folder)]
            return [standard_library(order)]

        origins = []
        for source, location in zip(sources, locations or [None] * len(sources), strict=True):
            found = None
            if location is not None:
                found = origin_at(location, order)
            if found is None:
                found = find_origin(source, is_named_by_run=True, order=order)
            origins.append(found)
        return origins

    def names(self, path: Path) -> bool:
        """Return whether an existing file is a text of the run, or one of the files of its folder
        or pattern."""
        for place in filter(None, (*self.config.corpus, *self.locations)):
            # A text that is missing is not this file. Standard input has no files.
            with suppress(DataError, OSError):
                origin = find_origin(place, is_named_by_run=True, order=SORTED)
                if any(path.samefile(file) for file in origin.paths):
                    return True
        return False

    def _changed(self, text: SourceReader, alternative: str, reason: str) -> str:
        if not self.config.corpus:
            label = text.labels[0]
            return (
                f"{self.run} was trained on another version of the {label}: use that"
                f" Python{alternative}.{reason}"
            )

        listed = shortened(", ".join(text.labels))
        message = (
            f"The text of {self.run} has changed since it was trained ({listed}): put it"
            f" back{alternative}.{reason}"
        )

        # A file of a folder that cannot be read any more is skipped, which changes the text.
        notes = [note for note in text.notes if note.startswith("skipped")]
        if notes:
            message += f"\nWhen it was read again: {shortened('; '.join(notes))}."
        return message

    def _not_here(self, source: str, instead: str, reason: str) -> str:
        entry = find_entry(Path(source).stem)
        if self.model_file:
            # No text comes with it, so that nothing can be put back.
            remedy = f"put {shortened(source)} into this folder"
            if entry is not None:
                remedy = f"run charrnn corpora fetch {entry.name}"
            if instead:
                remedy = f"{instead}, or {remedy}"
            return f"{self.model_file} contains no text: {remedy}.{reason}"

        alternative = f" or {instead}" if instead else ""
        lines = [
            f"The text of {self.run}, {shortened(source)}, is not here: put it"
            f" back{alternative}.{reason}"
        ]

        # What helps to find it: where it was, and whether it can be fetched.
        location = dict(zip(self.config.corpus, self.locations, strict=False)).get(source)
        if location is not None and location != source:
            lines.append(f"It was found at {shortened(location)}.")
        if entry is not None:
            lines.append(f"The catalogue has it, too: charrnn corpora fetch {entry.name}")
        return "\n".join(lines)


def recorded_corpus(
    run: str, config: Config, state: Mapping[str, object], *, model_file: str = ""
) -> RecordedCorpus | None:
    """Return what a run's configuration and the state of a checkpoint record of its text; None
    without a digest.

    `model_file` is the name of the exported file, if it is no run. Locations that do not fit the
    sources are ignored.
    """
    digest = state.get("corpus_digest")
    if not isinstance(digest, str):
        return None

    # A checkpoint may be damaged or come from somebody else: without locations the names of the
    # sources still lead to the text.
    locations = state.get("corpus_locations")
    if not isinstance(locations, list) or len(locations) != max(1, len(config.corpus)):
        locations = []
    for place in locations:
        if place is not None and not (isinstance(place, str) and os.path.isabs(place)):
            locations = []
            break
    return RecordedCorpus(
        run=run,
        config=config,
        locations=tuple(locations),
        digest=digest,
        model_file=model_file,
        is_held_out=state.get("is_imported") is True,
    )


def state_of_corpus(corpus: Corpus) -> dict[str, str | list[str | None]]:
    """Return what a checkpoint records of its corpus; `recorded_corpus` reads it."""
    state: dict[str, str | list[str | None]] = {"corpus_digest": corpus.digest}
    locations = list(corpus.locations)
    if any(locations) and len(json.dumps(locations)) <= MAX_LOCATIONS_LENGTH:
        state["corpus_locations"] = locations
    return state
