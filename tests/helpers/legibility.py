"""The contrast of a text with its background (WCAG 2.2)."""

MIN_CONTRAST = 4.5
"""Contrast of text with its background, at least (level AA)."""


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours #rrggbb, from 1 to 21."""
    # The lighter one is above: the ratio is the same for text on a page and the other way round.
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour #rrggbb, from 0 to 1 (IEC 61966-2-1)."""
    total = 0.0
    for start, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        part = int(colour[start : start + 2], 16) / 255
        linear = part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        total += weight * linear
    return total
