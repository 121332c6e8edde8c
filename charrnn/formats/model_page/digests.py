"""Digests of the documents that a model has read, by which a module leaves out a text that is one
of them without having them."""

import hashlib
import unicodedata
from dataclasses import dataclass

from charrnn.reports.learned_texts import known_keys, learned_single_words
from charrnn.runs.checkpoint import tensors_to_bytes
from charrnn.text.vocab import Vocab
from charrnn.trained_model import TrainedModel

DIGEST_BYTES = 8
"""Bytes of a digest: two of a million documents are alike with a probability of 1 in 37 million."""


@dataclass(frozen=True)
class DocumentDigests:
    """The digests of the documents of a model."""

    salt: bytes
    """What each document is salted with: the SHA-256 of the model's weights, so that a table of
    digests that somebody has made for one model says nothing of another."""
    digests: bytes
    """`DIGEST_BYTES` of each document, sorted."""
    are_single_words: bool
    """Whether the documents are mostly single words, so that none of known words is new."""

    @classmethod
    def of(cls, model: TrainedModel) -> "DocumentDigests":
        """Make the digests of all documents that `sample --new` knows. Raises UsageError for a
        model without documents, DataError if its text is missing or has changed."""
        salt = hashlib.sha256(tensors_to_bytes(model.tensors)).digest()
        digests = sorted(digest_of(key, salt) for key in known_keys(model))
        return cls(
            salt=salt,
            digests=b"".join(digests),
            are_single_words=learned_single_words(model),
        )

    @property
    def count(self) -> int:
        """The number of documents."""
        return len(self.digests) // DIGEST_BYTES

    def to_json(self) -> dict[str, object]:
        """Return what the module reads beside the digests themselves."""
        return {
            "salt": self.salt.hex(),
            "count": self.count,
            "are_single_words": self.are_single_words,
        }


def digest_of(key: str, salt: bytes) -> bytes:
    """Return the digest of the `loose_key` of a document: of its characters in UTF-16, which
    JavaScript has, because those of UTF-8 have no byte of a file that was no UTF-8."""
    content = salt + key.encode("utf-16-le", "surrogatepass")
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def folds_of(vocab: Vocab) -> dict[str, str]:
    """Return how `str.casefold`, which `loose_key` uses, folds the characters that JavaScript's
    `toLowerCase` makes another text of: those that a text of an alphabet can have."""
    folds = {}
    for code in range(0x110000):
        character = chr(code)
        if character.casefold() != character.lower():
            folds[character] = character.casefold()
    if vocab.kind == "byte":
        return folds

    # What NFKC makes of a text is made of the decomposed characters of its alphabet.
    decomposed = set(unicodedata.normalize("NFKD", "".join(vocab.characters)))
    return {
        character: fold
        for character, fold in folds.items()
        if decomposed.issuperset(unicodedata.normalize("NFD", character))
    }
