"""The shades of the palette as CSS rules: class s-12 is -1, s0 is 0, s12 is +1, on light and on dark."""

from rich.style import Style

from charrnn.render.palette import NUM_SHADES, value_style


def shade_rules() -> str:
    """Return a variable and a class for every shade, for both colour schemes of a page."""
    steps = range(-NUM_SHADES, NUM_SHADES + 1)
    light, dark = (_variables({step: value_style(step / NUM_SHADES) for step in steps}) for _ in ("light", "dark"))
    classes = "\n".join(f".s{step} {{ background: var(--s{step}); color: var(--i{step}); }}" for step in steps)
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{classes}"


def _variables(styles: dict[int, Style]) -> str:
    """Return the background and the ink of each shade as variables; a shade without them has none."""
    rules = []
    for step, style in styles.items():
        for letter, colour in (("s", style.bgcolor), ("i", style.color)):
            if colour is not None and colour.triplet is not None:
                rules.append(f"--{letter}{step}: {colour.triplet.hex};")
    return " ".join(rules)
