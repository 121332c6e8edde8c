"""Find telephone and account numbers in a chat, which a model would learn with it."""

import re

NUMBER_BY_SED = "s/[+(]*([0-9][^0-9[:alpha:].,:;]{0,3}){6,}[0-9]/NUMBER/g"
"""An expression of sed -E that puts NUMBER in the place of seven digits or more, with blanks,
hyphens and other signs between them. A blank that does not break is no blank for sed."""

_SIGNS = "[ \u00a0\u202f\u2011()/-]"
_NUMBER = re.compile(
    # Behind a slash or a point stands a part of an address or of a number with a fraction, and
    # before the digits of an IBAN are two letters. Codes of chats end with >, or are times.
    r"(?:(?<![A-Za-z0-9_/=.,?&-])(?<!\d:)(?<!<t:)|(?<=\b[A-Z]{2}))"
    rf"\d(?:{_SIGNS}{{0,3}}\d){{6,}}(?![A-Za-z0-9_>])"
)
_PLAIN_SIGNS = str.maketrans("\u00a0\u202f\u2011", "  -")
_YEAR = r"(?:1[5-9]|20)\d\d"
_DATE = (
    rf"(?:{_YEAR}[-/]\d\d?[-/]\d\d?|\d\d?[-/]\d\d?[-/](?:\d\d){{1,2}}"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rf"|{_YEAR}(?: ?[-/] ?(?:{_YEAR}|\d\d))?|\d\d? ?- ?\d\d?)"
)
_DATES = re.compile(rf"(?:\d\d? ){{0,2}}{_DATE}(?:(?: - |[ ()]{{1,2}})(?:{_DATE}|\d\d?))*")
"""Matches dates, years, hours and ranges of them alone, such as `2024-03-05 21` and `2019-2023`."""


def num_lines_with_number(text: str) -> int:
    """Return the number of lines that have a telephone number or a number of an account: seven
    digits or more that are no dates."""
    return sum(1 for line in text.split("\n") if has_number(line))


def has_number(line: str) -> bool:
    """Whether a line has a telephone number or a number of an account."""
    numbers = (found[0].translate(_PLAIN_SIGNS) for found in _NUMBER.finditer(line))
    return any(not _DATES.fullmatch(number) for number in numbers)
