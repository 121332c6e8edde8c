"""Label notations with a grammar: molecules as SMILES, tunes as ABC.

Yes/no labels are bool arrays (N,), counts are int64 arrays (N,), for a text of N characters. A
molecule is a line, and a tune ends at a blank line: all labels are 0 after it.
"""

import re

from charrnn.detectors.prose import label_matches
from charrnn.detectors.source import count_lines, values_after
from charrnn.system.arrays import BoolArray, Int64Array

MIN_MOLECULES = 0.8
"""A text is SMILES if at least this share of its lines that are not blank can be a molecule."""
MIN_MUSIC = 0.3
"""A text is ABC if it has the number or the key of a tune, and at least this share of its lines has
a bar line, not counting headers and comments."""

_MOLECULE = re.compile(
    r"(?m)^(?=.*[A-Za-z])(?:\[[^\]\s]+\]|Br|Cl|[BCNOSPFIbcnops]|[-=#$:/\\.()*]"
    r"|%\d\d|%\(\d{1,5}\)|\d)+(?:[ \t]+\|[^|\n]*\|)?$"
)
"""Matches a line with a molecule, perhaps with an extension of ChemAxon after it: `C* |$;R1$|`."""
_AFTER_MOLECULE = r"[ \t][^\n]*"
"""Matches a name or an extension after a molecule, which has neither atoms nor rings."""
_ATOM = re.compile(
    r"\[(?:\d*(?P<inside>[a-z]))?[^\]\n]*\]?|Br|Cl|[BCNOSPFI*]|(?P<aromatic>[bcnops])|\n|"
    + _AFTER_MOLECULE
)
_RING = re.compile(
    r"\[[^\]\n]*\]?|%(?P<two>\d\d)|%\((?P<more>\d{1,5})\)|(?P<one>\d)|\n|" + _AFTER_MOLECULE
)


def looks_like_smiles(text: str) -> bool:
    """Return whether enough lines of a text can be molecules: each has an atom, and symbols that
    SMILES knows."""
    return 0 < MIN_MOLECULES * count_lines(text) <= num_molecules(text)


def num_molecules(text: str) -> int:
    """Count the lines of a text that can be molecules.

    It counts where `looks_like_smiles` decides.
    """
    return len(_MOLECULE.findall(text))


def label_rings(text: str) -> Int64Array:
    """Rings of this molecule that are open: numbers outside square brackets that have occurred an
    odd number of times. 1, %01 and %(1) are the same number."""
    opened = set[int]()

    def num_after(token: re.Match[str], num: int) -> int:
        digits = token["one"] or token["two"] or token["more"]
        if digits:
            opened.symmetric_difference_update((int(digits),))
        elif token.group() == "\n":
            opened.clear()
        return len(opened)

    return values_after(text, tokens=_RING, value_after=num_after)


def label_aromatic(text: str) -> BoolArray:
    """True where the last atom is aromatic: from a lower-case symbol to just before the next
    atom."""

    def is_aromatic(token: re.Match[str], _: int) -> int:
        return int(bool(token["aromatic"] or token["inside"]))

    return values_after(text, tokens=_ATOM, value_after=is_aromatic) > 0


_FIELD = r"(?:^[A-Za-z+]:(?![|:]).*$|\[[A-Za-z]:[^\]\n]*\]?)"
"""Matches a line of a header or of words, and a field within a line of music such as `[K:Dm]`."""
_CHORD = r"(?:[_^=]*[A-Ga-g][,'/\d]*){2,}"
"""Matches the notes of a chord that stands between plus signs, as it did before version 2.0."""
_MARKS = r"\\.|%.*$|" + r'"[^"\n]*"?|![^!\n]*!|\{[^}\n]*\}?' + rf"|\+(?!{_CHORD}\+)[^+|\s]+\+"
"""Matches what is no note of a bar: an escaped character, a comment up to the end of its line, a
chord symbol or an annotation, a decoration such as `!trill!` or, of version 2.0, `+trill+`, and
grace notes."""
_END_OF_TUNE = r"\n[ \t\r]*\n"
_KEY = re.compile(
    r"(?m)(?:^|\[)K: *(?:(?P<tonic>[A-G][#b]?) *(?P<mode>[A-Za-z]{0,3}))?(?P<more>[^\]\n]*)(?:\]|$)"
    rf"|(?P<other>{_FIELD}|{_MARKS})|{_END_OF_TUNE}"
)
_ACCIDENTAL = re.compile(r"(?<!\S)(__?|\^\^?|=)([A-Ga-g])(?!\S)")
"""Matches an accidental that a key has besides those of its mode, as in `K:D Phr ^f`."""
_SHARPS = {"__": -2, "_": -1, "=": 0, "^": 1, "^^": 2}
_ORDER = "FCGDAEB"
"""The notes in the order in which keys have sharps; the order of flats is the reverse."""
_FREE_TEXT = r"(?<=\n\n)(?![A-Za-z]:|[%\[])(?=[^|\n]*[h-wyH-WY])[^|\n]+(?:\n[^|\n]+)*$"
"""Matches a paragraph between two tunes (ABC 2.1, section 2.2.3): it begins with no field, and has
letters that are no notes, and no bar."""
_MUSIC = re.compile(
    rf"(?m){_FREE_TEXT}|{_FIELD}|{_MARKS}|(?P<note>[A-Ga-gxzXZ])|(?P<bar>\||{_END_OF_TUNE})"
)
_TUNE = re.compile(r"(?m)^(?:X: *\d|K: *[A-G])")
_HEADER = re.compile(r"(?m)^(?:[A-Za-z]:|%)")
_BARS = re.compile(r"(?m)^(?![A-Za-z]:|%).*\|")
_TONICS = "FbCbGbDbAbEbBbF C G D A E B F#C#G#D#A#E#B#"
"""Tonics of major keys in two characters each, from eight flats to seven sharps."""
_MODES = {"m": -3, "min": -3, "aeo": -3, "lyd": 1, "mix": -1, "dor": -2, "phr": -4, "loc": -5}
"""The number of sharps that a mode has more than the major key of the same tonic."""


def looks_like_abc(text: str) -> bool:
    """Return whether a text has the number (X:) or the key (K:) of a tune, and enough of its lines
    of music have bars."""
    if _TUNE.search(text) is None:
        return False
    num_music = count_lines(text) - len(_HEADER.findall(text))
    return 0 < MIN_MUSIC * num_music <= len(_BARS.findall(text))


def label_notes(text: str) -> BoolArray:
    """True for notes and rests, not for letters of fields, of chords in quotation marks, of
    decorations, of grace notes, which take no time, and of comments (ABC 2.1, section 4)."""
    return label_matches(text, (match for match in _MUSIC.finditer(text) if match["note"]))


def label_bar(text: str) -> Int64Array:
    """Notes and rests of this bar read so far."""

    def num_after(token: re.Match[str], num: int) -> int:
        if token["note"]:
            return num + 1
        if token["bar"]:
            return 0
        return num

    return values_after(text, tokens=_MUSIC, value_after=num_after)


def label_key(text: str) -> Int64Array:
    """Sharps of the key, less its flats, from the end of its field on, in the header or in a line
    of music (ABC 2.1, section 3.1.14)."""

    def sharps_after(token: re.Match[str], num: int) -> int:
        if token["other"]:
            return num
        if token["tonic"] is None:
            # The key of the Highland bagpipe: F and C are sharp. K:HP shows no accidentals.
            if str(token["more"]).startswith("Hp"):
                return 2
            return 0
        major = _TONICS.index(token["tonic"].ljust(2)) // 2 - 8
        mode = token["mode"].lower()
        key = major + _MODES.get(mode, 0)
        if mode == "exp":
            key = 0

        # An accidental takes the place of what the note has in that key.
        notes = [(key - place + 6) // 7 for place in range(len(_ORDER))]
        for sign, note in _ACCIDENTAL.findall(token["more"].partition("%")[0]):
            notes[_ORDER.index(note.upper())] = _SHARPS[sign]
        return sum(notes)

    return values_after(text, tokens=_KEY, value_after=sharps_after)
