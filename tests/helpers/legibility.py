"""The contrast of a text with its background, as the script that makes the palette computes it."""

from environment import REPOSITORY, load_script

PALETTE = load_script(REPOSITORY / "tools" / "palette.py")
"""The script."""
MIN_CONTRAST = PALETTE.MIN_CONTRAST
"""Contrast of text with its background, at least (WCAG 2.2, level AA)."""
contrast = PALETTE.contrast
"""Return the contrast ratio of two colours #rrggbb, from 1 to 21."""
