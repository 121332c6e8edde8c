"""Numbers in few characters, for axes and narrow tables."""


def short_number(value: float) -> str:
    """Return a number with at most four significant digits: 0.25, 950, 1,200, 15k, 1.5M, 2G, 3T."""
    if abs(value) < 1000:
        return f"{value:.4g}"
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value / 1e12:.4g}T"
