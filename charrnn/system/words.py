"""Decide whether commands print words in place of drawings.

A screen reader spells rules, bars and blocks, or passes over them, and does not tell colours.
"""

import os
from collections.abc import Mapping


def prints_words(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether commands print words in place of drawings, and move nothing: on a terminal
    that only prints text, which ACCESSIBLE declares every terminal (`choose_terminal`).

    Whoever draws asks it: a screen reader makes nothing of blocks and bars.
    """
    return environment.get("TERM") in ("dumb", "unknown")
