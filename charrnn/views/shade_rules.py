"""The shades of the palette as CSS rules: class s-12 is -1, s0 is 0, s12 is +1, on light and on dark."""

from charrnn.views.palette import NUM_SHADES, steps


def shade_rules() -> str:
    """Return a variable and a class for every shade, for both colour schemes of a page."""
    light, dark = (_variables(dark=dark) for dark in (False, True))
    classes = "\n".join(
        f".s{step} {{ background: var(--s{step}); color: var(--i{step}); }}"
        for step in range(-NUM_SHADES, NUM_SHADES + 1)
    )
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{classes}"


def _variables(*, dark: bool) -> str:
    """Return the background and the text of each shade as variables; the middle, which is the page, has none."""
    shades = enumerate(steps(dark), start=-NUM_SHADES)
    return " ".join(f"--s{step}: {paper}; --i{step}: {ink};" for step, (paper, ink) in shades if step)
