"""Find and read the corpus of a run again, by its recorded location or by its name, and check its
digest."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat, starmap
from pathlib import Path

from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, DataError, NotHereError, named, shortened
from charrnn.text.copies import trained_share
from charrnn.text.corpus import Corpus, CorpusPart
from charrnn.text.document_order import digest_in_order
from charrnn.text.kept_texts import KeptTexts, read_kept_texts
from charrnn.text.reader import SourceText, file_bytes, read_sources
from charrnn.text.sources import Origin, entry_of, find_origins
from charrnn.text.vocab import Vocab, as_bytes

MAX_LOCATIONS_LENGTH = 200_000
"""Maximum length of the JSON of the locations that are recorded. The locations of thousands of
sources are too long and are not recorded."""
MAX_COMPARED = 1 << 25
"""Maximum size in bytes of a corpus that is compared with another text, and of files that are read
although their size is not the recorded one."""


@dataclass(frozen=True, kw_only=True)
class RecordedCorpus:
    """The record of a run about its text. The record of a downloaded run is not trusted: it could
    name any file of this machine.

    It is how a run finds its text again, also after the files or the run were moved, and knows
    whether it is still the same.
    """

    run: str
    """Name of the run, for messages."""
    config: Config
    """The configuration of the run: the sources as the user gave them, their order, the alphabet
    and the encoding."""
    locations: tuple[str | None, ...]
    """The location of each source (`Origin.location`); empty if none was recorded."""
    digest: str
    """SHA-256 of the text (`Corpus.digest`)."""
    file_bytes: int | None = None
    """The size of its files on the disk; None if it was not recorded."""
    folder: Path | None = None
    """The folder of the run, which keeps the texts of its documents; None for a model file."""
    texts_seal: object = None
    """The size and the SHA-256 of the file with these texts; None if the run has none."""

    def is_whole(self, text: str | bytes) -> bool:
        """Whether a text is this whole corpus. The text must be read like a corpus, with its
        documents in the order of the files.

        How much of it was learned is known then, and need not be measured.
        """
        digest = hashlib.sha256(as_bytes(text)).hexdigest()
        return self.digest == digest_in_order(digest, self.config)

    def trained_share(
        self, text: str | bytes, read_training: Callable[[], CorpusPart]
    ) -> float | None:
        """Return the share of a text that is training text.

        It says how far a loss on a given text is one of learned text. For the whole corpus this is
        the share of the training part. For any other text it is the share of the documents or long
        passages that the training text contains, too (`charrnn.text.copies.trained_share`); None if
        the corpus is missing or large. `read_training` reads the training text, and raises
        CharRNNError if that fails.
        """
        # The share of the whole corpus is known from its split.
        if self.is_whole(text):
            return self.config.split[0] / math.fsum(self.config.split)
        is_small = self.file_bytes is not None and self.file_bytes <= MAX_COMPARED
        if not is_small or "-" in self.config.corpus:
            return None
        try:
            training = read_training()
        except CharRNNError:
            return None

        # The text is compared as the corpus is stored: as bytes or as characters.
        if training.corpus.vocab.kind == "byte":
            text = as_bytes(text)
        return trained_share(text, training=training, config=self.config)

    def read(self, *, vocab: Vocab | None = None, instead: str = "", reason: str = "") -> Corpus:
        """Read the text from its recorded location or, if that fails, from the files that its name
        means now, or from those beside the run, with which the run may have been moved.

        It refuses a text that has changed, because every measurement would be of another one;
        `read_corpus` takes what it finds.

        It is encoded in `vocab`, by default in its own vocabulary. Nothing is downloaded, and only
        regular files and standard input are read. Raises DataError if the text is missing, cannot
        be read or has changed. The message contains `instead`, which the user can do instead of
        putting the text back ("give ..."), and ends with `reason`, which says why the text is
        needed. Raises CharRNNError if the ids of a large text cannot be written.
        """
        # The recorded place first, then what the names mean now, if that is another place.
        problem = ""
        files_read: list[list[str]] = []
        for locations in (self.locations, ()):
            try:
                if text := self._text_at(locations, files_read=files_read):
                    return Corpus.of(text, vocab)
            except DataError as error:
                problem = problem or f"is not here ({shortened(str(error).splitlines()[0])})"
        # That a text has changed says more than that its old place is empty.
        has_changed = bool(files_read)
        if has_changed:
            sources = shortened(", ".join(self.config.corpus) or "the standard library")
            problem = f"has changed since it was trained ({sources})"
            if self._kept_texts.problem:
                problem += f", or is read by another pandoc ({self._kept_texts.problem})"

        for locations in self._beside_run():
            with suppress(CharRNNError):
                if text := self._text_at(locations, files_read=files_read):
                    return Corpus.of(text, vocab)
        remedies = ["put it back"]
        if instead:
            remedies.append(instead)
        # A manuscript grows: what is new in it can be learned by the same model.
        if has_changed:
            remedies.append(f"train on it with {named('init_from', self.run)}")
        remedy = " or ".join(remedies)
        raise DataError(f"The text of {self.run} {problem}: {remedy}.{reason}")

    def _text_at(
        self, locations: tuple[str | None, ...], files_read: list[list[str]]
    ) -> SourceText | None:
        """Return what is read at some locations, by default by the names of the sources, if it is
        the text of the run; None if it is another one, or if `files_read`, to which the files are
        added, has them. Raises DataError if it cannot be read."""
        origins = self._origins_at(locations)
        files = _files_of(origins)
        if files in files_read:
            return None
        text = self._read_from(origins)
        files_read.append(files)
        if text is None or text.digest != self.digest:
            return None
        return text

    def _beside_run(self) -> Iterator[tuple[str, ...]]:
        """Yield locations of the sources in the folder with the run, and in the one above: they
        were moved together, from the folder in which the training was started or from another."""
        if self.folder is None or "-" in self.config.corpus:
            return
        for folder in self.folder.absolute().parents[:2]:
            # By the names that were typed, and by those of the files.
            yield tuple(str(folder / source) for source in self.config.corpus)
            yield tuple(str(folder / Path(source).name) for source in self.config.corpus)

    def _origins_at(self, locations: tuple[str | None, ...]) -> list[Origin]:
        """Find the sources at these locations, by default by their names. Raises DataError."""
        # Without sources there is the location of the standard library.
        sources = zip(self.config.corpus, locations or repeat(None), strict=False)
        names = starmap(self._name_of, sources)
        return find_origins(names, self.config, is_named_by_run=True)

    def _read_from(self, origins: list[Origin]) -> SourceText | None:
        """Read the sources; None if their size shows that they are another text. Raises
        DataError."""
        # The size is compared before anything is read: a run of somebody else could name the whole
        # disk. Small files are read, because a folder may have new ones that are no text.
        size = file_bytes(origins)
        if size > MAX_COMPARED and size != self.file_bytes:
            return None
        return read_sources(origins, self.config, kept_texts=self._kept_texts)

    @cached_property
    def _kept_texts(self) -> KeptTexts:
        return read_kept_texts(self.folder, seal=self.texts_seal)

    def _name_of(self, source: str, location: str | None) -> str:
        """Return what is looked up for a source. A model file comes from somebody else, and names
        no place of this machine, but it may name the file of a text of the catalogue."""
        if self.folder is not None:
            return location or source
        entry = entry_of(Path(source).stem)
        if entry is None:
            raise NotHereError(source, "a model file contains no text")
        return entry.name


def _files_of(origins: Sequence[Origin]) -> list[str]:
    """Return the absolute paths of all files of some sources."""
    return [os.path.abspath(path) for origin in origins for path in origin.paths]


def recorded_corpus(
    run: str, config: Config, state: Mapping[str, object], *, folder: Path | None = None
) -> RecordedCorpus | None:
    """Return the record of a run's text in its configuration and the state of a checkpoint; None if
    the state has no digest.

    A model is loaded with it and without its text; `RecordedCorpus.read` reads the text once
    somebody asks for it. `folder` is that of the run, None for an exported model file. Locations
    that do not fit the sources are ignored.
    """
    digest = state.get("corpus_digest")
    if not isinstance(digest, str):
        return None

    # A checkpoint may be damaged or come from somebody else. Without valid locations, the text is
    # still found by the names of its sources.
    locations = state.get("corpus_locations")
    if not isinstance(locations, list) or len(locations) != max(1, len(config.corpus)):
        locations = []
    if not all(map(_is_place, locations)):
        locations = []
    recorded_bytes = state.get("corpus_bytes")
    if not isinstance(recorded_bytes, int):
        recorded_bytes = None
    return RecordedCorpus(
        run=run,
        config=config,
        locations=tuple(locations),
        digest=digest,
        file_bytes=recorded_bytes,
        folder=folder,
        texts_seal=state.get("document_texts"),
    )


def _is_place(location: object) -> bool:
    """Whether an entry is the location of a source, or None, as that of a stream is."""
    return location is None or (isinstance(location, str) and os.path.isabs(location))


def state_of_corpus(corpus: Corpus) -> dict[str, str | int | list[str | None]]:
    """Return the entries about its corpus in the state of a checkpoint, which `recorded_corpus`
    reads.

    Every checkpoint has them, so that a run knows its text by more than the names of files.
    """
    state: dict[str, str | int | list[str | None]] = {
        "corpus_digest": corpus.digest,
        "corpus_bytes": corpus.source_text.file_bytes,
    }
    locations = [origin.location for origin in corpus.source_text.origins]
    if any(locations) and len(json.dumps(locations)) <= MAX_LOCATIONS_LENGTH:
        state["corpus_locations"] = locations
    return state
