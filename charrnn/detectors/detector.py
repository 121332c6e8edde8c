"""What a detector is: a function that labels every character of a text, with its name and a description."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charrnn.detectors.labels import Labels

Label = Callable[[str], "Labels | None"]
"""A function from a text of N characters to its labels (N,), or to None where the detector does not apply."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A named function that labels every character of a text."""

    name: str
    looks_for: str
    """What the labels mean, in a few words."""
    label: Label
    absence: str = "this text has nothing of the kind"
    """Why `label` returns None for a text."""
    label_any: Label | None = None
    """What labels a text of any kind, if the detector is named; None if `label` does. The kind decides the defaults."""

    def for_any_text(self) -> "Detector":
        """Return this detector for a text of any kind, as it is used where its name is given."""
        return self if self.label_any is None else replace(self, label=self.label_any)

    def label_documents(self, text: str) -> "Labels | None":
        """Label a text whose documents, if it has any, end with END (U+0000), as if END were a newline."""
        return self.label(text.replace("\0", "\n"))

    def with_labels(self, labels: "Labels") -> "Detector":
        """Return this detector with known labels: those of a part of a text, which may begin inside a span."""
        return replace(self, label=lambda part: labels)
