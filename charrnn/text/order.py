"""The order in which the files of a folder or of a pattern are joined: by path, or shuffled by a recorded seed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """How the files of a folder or of a pattern are arranged before they are joined.

    The last files are held out, so `sorted` holds out other folders than the model learns from, and `shuffled` a
    sample of all of them. A shuffle sorts by SHA-256, which depends neither on the version of Python or NumPy nor on
    the order in which the file system lists a folder. It has a seed of its own: runs that differ in the seed of their
    weights hold out the same files.
    """

    kind: str = "shuffled"
    """`shuffled` or `sorted`."""
    seed: int = 0
    """Seed of the shuffle."""

    def arrange(self, names: Sequence[str]) -> list[int]:
        """Return the indices of `names` in this order: by name, or by the SHA-256 of `SEED/NAME` in UTF-8.

        A name is the path of a file relative to its folder, with "/" between its parts.
        """
        if self.kind == "sorted":
            return sorted(range(len(names)), key=names.__getitem__)
        keys = [shuffle_key(self.seed, name) for name in names]
        # By name where two keys are equal: the same name twice.
        return sorted(range(len(names)), key=lambda index: (keys[index], names[index]))


def shuffle_key(seed: int, name: str) -> bytes:
    """Return the SHA-256 of `SEED/NAME` in UTF-8, by which a shuffle sorts."""
    # "surrogatepass": the bytes of a file name that are no UTF-8 are lone surrogates in Python.
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


SHUFFLED = Order()
"""The order of the files unless another is asked for."""
SORTED = Order("sorted")
"""By path."""
