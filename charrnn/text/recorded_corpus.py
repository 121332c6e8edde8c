"""Find and read the corpus of a run again, by its recorded location or by its name, and check its
digest."""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, DataError, NotHereError, shortened
from charrnn.text.copies import trained_share
from charrnn.text.corpus import Corpus, CorpusPart
from charrnn.text.documents import Documents, split_text
from charrnn.text.pandoc import kept_texts
from charrnn.text.reader import SourceReader, file_bytes
from charrnn.text.sources import (
    SORTED,
    Order,
    Origin,
    find_catalogued,
    find_entry,
    find_origin,
    origin_at,
    standard_library,
)
from charrnn.text.vocab import Vocab, as_bytes

MAX_LOCATIONS_LENGTH = 200_000
"""Maximum length of the JSON of the locations that are recorded. The locations of thousands of
sources are too long and are not recorded."""
MAX_COMPARED = 1 << 25
"""Maximum size in bytes of a corpus that is compared with another text, and of files that are read
although their size is not the recorded one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedCorpus:
    """The record of a run about its text. The record of a downloaded run is not trusted: it could
    name any file of this machine."""

    run: str
    """Name of the run, for messages."""
    config: Config
    """The configuration of the run: the sources as the user gave them, their order, the alphabet
    and the encoding."""
    locations: tuple[str | None, ...]
    """The location of each source (`Corpus.locations`); empty if none was recorded."""
    digest: str
    """SHA-256 of the text (`Corpus.digest`)."""
    file_bytes: int | None = None
    """The size of its files on the disk (`Corpus.file_bytes`); None if it was not recorded."""
    model_file: str = ""
    """Name of the exported model file, which contains no text; "" for a run."""
    folder: Path | None = None
    """The folder of the run, which keeps the texts of its documents; None for a model file."""

    def is_whole(self, text: str | bytes) -> bool:
        """Whether a text is this whole corpus. The text must be read like a corpus, with its
        documents in the order of the files."""
        digest = hashlib.sha256(as_bytes(text)).hexdigest()
        documents = Documents.of(self.config)
        return self.digest == (digest if documents is None else documents.digest(digest))

    def trained_share(self, text: str | bytes) -> float | None:
        """Return the share of a text that is training text.

        For the whole corpus this is the share of the training part. For any other text it is the
        share of the documents or long passages that the training text contains, too
        (`charrnn.text.copies.trained_share`); None if the corpus is missing or large.
        """
        # The share of the whole corpus is known from its split.
        if self.is_whole(text):
            return self.config.split[0] / math.fsum(self.config.split)
        if not self._is_small():
            return None
        try:
            corpus = self.read()
        except CharRNNError:
            return None

        # The model has learned everything before the end of the training part. The text is compared
        # as the corpus is stored: as bytes or as characters.
        training = CorpusPart(corpus, begin=0, end=split_text(corpus.ids, self.config)[0].stop)
        if corpus.vocab.kind == "byte":
            text = as_bytes(text)
        return trained_share(text, training=training, config=self.config)

    def _is_small(self) -> bool:
        """Whether the corpus was recorded with its locations and has at most MAX_COMPARED bytes."""
        if not self.locations or None in self.locations or self.file_bytes is None:
            return False
        return self.file_bytes <= MAX_COMPARED

    def read(
        self,
        *,
        vocab: Vocab | None = None,
        instead: str = "",
        reason: str = "",
    ) -> Corpus:
        """Read the text from its recorded location or, if that fails, from the files that its name
        means now.

        It is encoded in `vocab`, by default in its own vocabulary. Nothing is downloaded, and only
        regular files and standard input are read. Raises DataError if the text is missing, cannot
        be read or has changed. The message contains `instead`, which the user can do instead of
        putting the text back ("give ..."), and ends with `reason`, which says why the text is
        needed. Raises CharRNNError if the ids of a large text cannot be written.
        """
        config = self.config
        alternative = f" or {instead}" if instead else ""
        # The recorded place first, then what the names mean now. Standard input can be read once.
        places = [self.locations]
        if "-" not in config.corpus:
            places.append(())
        changed: DataError | None = None
        missing: NotHereError | None = None
        for locations in places:
            try:
                origins = self._origins(locations)
                # The size is compared before anything is read: a run of somebody else could name
                # the whole disk. Small files are read, because a folder may have new ones that are
                # no text.
                size = file_bytes(origins)
                if size > MAX_COMPARED and size != self.file_bytes:
                    changed = changed or self._changed(origins, alternative, reason)
                    continue

                # The digest is compared before the text is encoded.
                with SourceReader(
                    origins,
                    alphabet=config.alphabet,
                    encoding=config.encoding,
                    documents=Documents.of(config),
                    joins_lines=config.join_lines,
                    is_cleaned=config.clean,
                    kept_texts=kept_texts(self.folder),
                ) as text:
                    if text.digest == self.digest:
                        if vocab is None:
                            is_exact = config.alphabet == "exact"
                            vocab = text.own_vocab(min_count=config.min_count, is_exact=is_exact)
                        return Corpus.of(text, vocab)
                changed = changed or self._changed(origins, alternative, reason, text.notes)
            except NotHereError as error:
                missing = missing or error
            except DataError as error:
                # An error in an existing text is more useful than that it is missing.
                problem = f"The text of {self.run} cannot be read again: {error}{alternative}"
                changed = changed or DataError(problem)
        if changed is not None:
            raise changed
        assert missing is not None, "no place has the text"
        raise DataError(self._not_here(missing.source, instead=instead, reason=reason))

    def _origins(self, locations: tuple[str | None, ...]) -> list[Origin]:
        """Find each source at its recorded location if it exists, else by its name. Raises
        DataError."""
        sources = self.config.corpus
        order = Order(self.config.order, self.config.order_seed)
        # Python's standard library, which the run names by no source.
        if not sources:
            for folder in locations:
                if folder is not None and os.path.isdir(folder):
                    return [standard_library(order, folder)]
            return [standard_library(order)]

        origins = []
        for source, location in zip(sources, locations or [None] * len(sources), strict=True):
            # A text that has moved is found by the name with which it was given.
            origin = None
            if location is not None:
                origin = origin_at(location, order)
            # A model file comes from somebody else, and names no place of this machine. It may name
            # the file of a text of the catalogue.
            if self.model_file:
                origin = find_catalogued(Path(source).stem, order)
            if origin is None:
                origin = find_origin(source, is_named_by_run=True, order=order)
            origins.append(origin)
        return origins

    def names(self, path: Path) -> bool:
        """Whether an existing file is a text of the run, also as a file of its folder or
        pattern."""
        for source in filter(None, (*self.config.corpus, *self.locations)):
            # A missing text is not this file, and standard input has no files.
            with suppress(DataError, OSError):
                origin = find_origin(source, is_named_by_run=True, order=SORTED)
                if any(path.samefile(file) for file in origin.paths):
                    return True
        return False

    def _changed(
        self, origins: Sequence[Origin], alternative: str, reason: str, notes: Sequence[str] = ()
    ) -> DataError:
        labels = [origin.label for origin in origins]
        if not self.config.corpus:
            return DataError(
                f"{self.run} was trained on another version of the {labels[0]}: use that"
                f" Python{alternative}.{reason}"
            )

        listed = shortened(", ".join(labels))
        message = (
            f"The text of {self.run} has changed since it was trained ({listed}): put it"
            f" back{alternative}.{reason}"
        )

        # A file of a folder that can no longer be read is skipped, which changes the text.
        skipped = [note for note in notes if note.startswith("skipped")]
        if skipped:
            message += f"\nWhen it was read again: {shortened('; '.join(skipped))}."
        return DataError(message)

    def _not_here(self, source: str, instead: str, reason: str) -> str:
        entry = find_entry(Path(source).stem)
        fetch = f"charrnn corpora fetch {entry.name}" if entry is not None else ""
        if self.model_file:
            # A model file contains no text that could be put back.
            remedy = ", or ".join(filter(None, [instead, fetch and f"run {fetch}"]))
            return f"{self.model_file} contains no text: {remedy or 'give the text'}.{reason}"

        # The message says where the text was, and whether it can be downloaded.
        alternative = f" or {instead}" if instead else ""
        place = dict(zip(self.config.corpus, self.locations, strict=False)).get(source) or source
        message = f"The text of {self.run}, {shortened(source)}, is not here: put it back"
        message += f"{alternative}.{reason}"
        if place != source:
            message += f"\nIt was found at {shortened(place)}."
        if fetch:
            message += f"\nThe catalogue has it, too: {fetch}"
        return message


def recorded_corpus(
    run: str,
    config: Config,
    state: Mapping[str, object],
    *,
    model_file: str = "",
    folder: Path | None = None,
) -> RecordedCorpus | None:
    """Return the record of a run's text in its configuration and the state of a checkpoint; None if
    the state has no digest.

    `model_file` is the name of the exported file, if it is no run; `folder` is that of the run.
    Locations that do not fit the sources are ignored.
    """
    digest = state.get("corpus_digest")
    if not isinstance(digest, str):
        return None

    # A checkpoint may be damaged or come from somebody else. Without valid locations, the text is
    # still found by the names of its sources.
    locations = state.get("corpus_locations")
    if not isinstance(locations, list) or len(locations) != max(1, len(config.corpus)):
        locations = []
    if not all(location is None or _is_place(location) for location in locations):
        locations = []
    recorded_bytes = state.get("corpus_bytes")
    if type(recorded_bytes) is not int:
        recorded_bytes = None
    return RecordedCorpus(
        run=run,
        config=config,
        locations=tuple(locations),
        digest=digest,
        file_bytes=recorded_bytes,
        model_file=model_file,
        folder=folder,
    )


def _is_place(location: object) -> bool:
    return isinstance(location, str) and os.path.isabs(location)


def state_of_corpus(corpus: Corpus) -> dict[str, str | int | list[str | None]]:
    """Return the entries about its corpus in the state of a checkpoint, which `recorded_corpus`
    reads."""
    state: dict[str, str | int | list[str | None]] = {
        "corpus_digest": corpus.digest,
        "corpus_bytes": corpus.file_bytes,
    }
    locations = list(corpus.locations)
    if any(locations) and len(json.dumps(locations)) <= MAX_LOCATIONS_LENGTH:
        state["corpus_locations"] = locations
    return state
