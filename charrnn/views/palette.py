"""The shades of the palette: written by `docs/make/palette.py`, which computes and checks them."""

from collections.abc import Mapping
from typing import NamedTuple


class Shades(NamedTuple):
    """The shades of a hue on one background, from the faintest to the full colour."""

    num_inked: int
    """How many of them, from the first on, carry text in the ink of the page; the others carry its
    strong ink."""
    colours: tuple[str, ...]
    """The shades as #rrggbb."""


# fmt: off
SHADES: Mapping[str, Mapping[str, Shades]] = {
    "light": {
        "low": Shades(10, (
            "#fdedeb", "#fddeda", "#fdcfc9", "#fcc0b9", "#fbb1a8", "#f9a298",
            "#f69287", "#f38277", "#f07266", "#ec6056", "#e74c45", "#e23532",
        )),
        "high": Shades(11, (
            "#ebf1fd", "#dae7ff", "#c9ddff", "#b8d2ff", "#a8c7ff", "#97bcff",
            "#87b1ff", "#76a6ff", "#669bff", "#558ffe", "#4483fc", "#3376fb",
        )),
        "surprise": Shades(10, (
            "#f8edf7", "#f4dff2", "#f0d0ee", "#ebc1e9", "#e6b3e4", "#e1a4df",
            "#dc95d9", "#d786d4", "#d177cf", "#cb67c9", "#c556c4", "#be43be",
        )),
        "guess": Shades(11, (
            "#f7efea", "#f2e3d9", "#edd7c7", "#e8cbb6", "#e2bfa5", "#ddb393",
            "#d7a682", "#d19a71", "#cb8e5f", "#c5824d", "#bf7639", "#b86a20",
        )),
    },
    "dark": {
        "low": Shades(11, (
            "#271c1a", "#351f1d", "#44221f", "#532520", "#622722", "#712823",
            "#812924", "#912925", "#a12925", "#b22825", "#c32625", "#d42325",
        )),
        "high": Shades(10, (
            "#1a1f27", "#1d2637", "#1e2d47", "#203458", "#223a69", "#23417b",
            "#24488d", "#254e9f", "#2655b2", "#265cc5", "#2662d9", "#2669ed",
        )),
        "surprise": Shades(11, (
            "#241c23", "#2f202f", "#3b233a", "#472646", "#542953", "#602c60",
            "#6d2e6c", "#7a307a", "#883287", "#953395", "#a335a3", "#b135b1",
        )),
        "guess": Shades(10, (
            "#231e1a", "#2e231c", "#3a291d", "#452f1e", "#51351e", "#5d3a1e",
            "#6a401d", "#77461c", "#834c1a", "#915217", "#9e5813", "#ab5e0c",
        )),
    },
    "unknown": {
        "low": Shades(12, (
            "#7e706e", "#876c69", "#906863", "#99645d", "#a15f58", "#a95a52",
            "#b0544c", "#b84d45", "#bf463e", "#c63d37", "#cd322e", "#d42325",
        )),
        "high": Shades(12, (
            "#6e747e", "#697489", "#637493", "#5d749d", "#5774a7", "#5173b1",
            "#4b72bb", "#4571c5", "#3e70cf", "#376ed9", "#2f6ce3", "#2669ed",
        )),
        "surprise": Shades(12, (
            "#797079", "#7f6d7e", "#856983", "#8a6589", "#90618e", "#955d93",
            "#9a5898", "#9f529d", "#a34ca2", "#a846a7", "#ad3eac", "#b135b1",
        )),
        "guess": Shades(12, (
            "#79726d", "#7e7167", "#836f61", "#886e5b", "#8c6c54", "#916b4d",
            "#966946", "#9a673e", "#9f6536", "#a3622c", "#a7601f", "#ab5e0c",
        )),
    },
}
# fmt: on
"""The shades by background and hue: `low` and `high` are the ends of the diverging palette,
`surprise` and `guess` are sequential."""
