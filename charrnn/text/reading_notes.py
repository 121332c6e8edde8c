"""Say what was read of a source: what was skipped, what its files are, what suits them better."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from unicodedata import category, normalize

from charrnn.config.settings import Config
from charrnn.errors import counted, listed, named, shortened
from charrnn.text.columns import WITH_COLUMNS, columns_of, describe_columns
from charrnn.text.file_kinds import TAGGED_LINES, data_kind
from charrnn.text.json_fields import WITH_BRACES
from charrnn.text.parting_lines import describe_parting
from charrnn.text.phone_numbers import NUMBER_BY_SED
from charrnn.text.sources import STANDARD_INPUT, Origin, is_smiles_file
from charrnn.text.text_files import Change, FileRecord, without_gz

MOST_REASONS = 3
"""Number of reasons for skipped files that are given at most."""
MAX_REASON = 600
"""Characters of a reason that are given at most."""
MOST_COLUMNS = 20
"""Number of columns of a file that are compared with those of the others, at most."""
MOST_KINDS = 3
"""Number of kinds of files whose shares are given at most."""
LEAST_SHARE = 0.05
"""Share of data in a text from which on a note names the files."""
MIN_LISTED = 50
"""Minimum number of lines of a text that is recognised as a list."""
SHORT_LINE, NARROW = 100, 50
"""The median line of a list has at most SHORT_LINE characters. Lines of at most NARROW characters
do not count as wrapped."""
MOST_IN_REFRAINS = 0.1
"""Share of the lines of a list that are followed by the same line as elsewhere, at most."""
_SPEAKER = re.compile(r"(?:\[?[\d:./, -]+\]? )?<?([^:<>]{1,40})[:>] ")
_TEXTS_OF_LETTERS = (
    'python3 -c "import encodings, mailbox; [print(part.get_payload(decode=True).decode('
    "name if encodings.search_function(name) else 'latin-1', 'replace'))"
    " for letter in mailbox.mbox('FILE') for part in letter.walk()"
    " if part.get_content_type() == 'text/plain'"
    " for name in [part.get_content_charset('utf-8')]]\" > text.txt"
)
_SHAPES = (
    # A page of Hugo: behind its settings stands no more JSON.
    (
        r"\{[ \t]*\n\s*\"(?:.*\n){0,300}?\}[ \t]*\n\s*[^\s\[\]{},]",
        "begins with a head of settings in JSON, which stays in it:"
        " sed '1,/^}/d' FILE > text.md leaves it out",
    ),
    (
        r"From \S+ .*\d\d:\d\d.* \d{4}(?: [+-]\d{4})?\n[A-Z][\w-]+:[ \t]",
        f"is a mailbox with its headers: {_TEXTS_OF_LETTERS} takes the texts out of it",
    ),
    # The lines of a tune belong together.
    (
        r"(?:(?:%[^\n]*|[ \t]*)\n)*[ \t]*X:\s*\d+[^\n]*\n(?:[A-Za-z]:[^\n]*\n|%[^\n]*\n)*K:",
        f"has tunes: {named('documents', 'blank-lines')} makes each a document",
    ),
    (
        r'\[Event "[^\n]*\n(?:\[\w+ "[^\n]*\n)+',
        "has games with their tags: grep -v '^\\[' FILE > moves.txt leaves the tags out",
    ),
    (
        r"(?:# [^\n]*\n)*\d+\t[^\t\n]+\t[^\t\n]+\t[A-Z_]+\t",
        "has words with what they are (CoNLL-U): sed -n 's/^# text = //p' FILE > text.txt takes the"
        " sentences out of it",
    ),
    (
        r"[^\n]* \+\+\+\$\+\+\+ [^\n]*\n",
        "has fields between +++$+++: sed 's/.* +++[$]+++ //' FILE > text.txt takes the last",
    ),
    (
        TAGGED_LINES,
        "has lines between tags: sed 's/<[^>]*>//g' FILE > text.txt leaves the tags out",
    ),
)
"""How texts begin that are read better in another way, each with a note."""
_LETTER = (
    "(?:[ÃÐÑ][\x80-\xbf]|â€|&(?:#\\d+|nbsp|amp|quot|[lr][sd]quo|[mn]dash"
    "|[A-Za-z](?:uml|acute|grave)|szlig);)"
)
_MISREAD = re.compile(rf"\w{_LETTER}|{_LETTER}\w")
"""Letters in UTF-8 that were read in another encoding, or are written as in a page: in or beside a
word, because a text about them has them alone."""
_MARK = re.compile(r"<\|\w+\|>")
"""A mark of a text that another program was to read, such as <|endoftext|> or <|im_start|>."""
_MARKS_NOTE = (
    "has marks such as <|endoftext|>, which other programs put between texts:"
    " sed 's/<|[^|]*|>//g' FILE > text.txt leaves them out"
)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[\da-f]+);")
"""Signs as a page writes them, wherever they stand."""
_READING = re.compile("[々〆〇\u3400-\u9fff]《[\u3041-\u30ff]+》")
"""A reading of ideographs, as a plain text of Aozora Bunko has it."""
_VARIATION = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""What says of a sign before it whether it is shown as a picture."""
CHARS_PER_MISREAD = 2000
"""Characters of a text for each misread letter, at most, from which on a note says so."""


def describe_file(file: FileRecord) -> None:
    """Note what data a file is, and how it is read better, by the beginning of its text.

    It is called while files are read and only records; `notes_on_source` says it of all files of a
    source together.
    """
    if not file.is_parsed:
        file.data = data_kind(start=file.start, name=file.name)
        if not file.data:
            file.shape = _shape(file)
            if file.shape.startswith((WITH_BRACES, WITH_COLUMNS)):
                columns = columns_of(file.start, label=file.name)
                file.columns = Counter(dict(columns.most_common(MOST_COLUMNS)))
    # A file may have been saved twice, under two names.
    file.likeness = hash((file.num_bytes, file.start))
    file.start = ""


def _shape(file: FileRecord) -> str:
    """Say how a file is read better, by the beginning of its text; "" if nothing is known."""
    start = file.start
    if is_smiles_file(file.name):
        return ""
    for pattern, note in _SHAPES:
        if re.match(pattern, start):
            return note
    # A text may have a few on purpose.
    many = 4 + len(start) / CHARS_PER_MISREAD
    # The bars of <|endoftext|> part no columns.
    if len(_MARK.findall(start)) > many:
        return describe_parting(start) or _MARKS_NOTE
    source = "-" if file.label == STANDARD_INPUT else shlex.quote(file.label)
    if columns := describe_columns(start, label=file.name, source=source):
        return columns
    if len(_MISREAD.findall(start)) > many:
        return (
            "has misread letters such as Ã¼, â€™ or &uuml;: ftfy FILE -o text.txt mends them (pip"
            " install ftfy)"
        )
    if len(_READING.findall(start)) > many:
        return (
            "has readings in 《》, and notes in ［＃］, as Aozora Bunko writes them:"
            ' python3 -X utf8 -c "import re, sys; sys.stdout.write(re.sub('
            "'(?ms)^-{20,}$.*?^-{20,}$\\\\n*|《[^》]*》|［＃[^］]*］|｜', '', sys.stdin.read()))\""
            " < FILE > text.txt leaves them out"
        )
    if parting := describe_parting(start):
        return parting
    if len(_ENTITY.findall(start)) > many and "</" not in start:
        return (
            'has &amp; or &lt; as pages do: python3 -X utf8 -c "import html, sys;'
            ' sys.stdout.write(html.unescape(sys.stdin.read()))" < FILE > text.txt mends them'
        )
    if looks_like_list(start):
        remedy = f"{named('documents', 'lines')} makes each a document"
        return f"is read as running text, but its lines look like a list: {remedy}"
    return ""


def describe_skipped(origin: Origin, skipped: Mapping[str, str]) -> str:
    """Say what was skipped of a source, and why; "" if nothing was.

    Of a source with some usable files it is a note, and of one without any the end of the error.
    """
    parts = []
    if skipped:
        # Each reason is given for the first file that has it, with the whole command of its remedy.
        first_names: dict[str, str] = {}
        for name, problem in skipped.items():
            first_names.setdefault(problem, name)
        reasons = [f"{name} {problem}" for problem, name in first_names.items()][:MOST_REASONS]
        reason = "; ".join(shortened(reason, most=MAX_REASON) for reason in reasons)
        parts.append(f"{counted(len(skipped), 'file')} ({listed(skipped)}; {reason})")
    parts += [counted(num, noun) for noun, num in origin.skipped.items() if num]
    return " and ".join(parts)


def notes_on_source(
    origin: Origin,
    skipped: Mapping[str, str],
    files: Sequence[FileRecord],
    config: Config,
) -> Iterator[str]:
    """Yield notes on the files of a source, and on those that were `skipped`, each with its reason.

    A folder of a thousand files has one note of each kind, with their number.
    """
    if description := describe_skipped(origin, skipped):
        yield f"skipped in {origin.label}: {description}"

    # Data that is a small part of a text does no harm.
    num_bytes = max(1, sum(file.num_bytes for file in files))
    for what in dict.fromkeys(file.data for file in files if file.data):
        alike = [file for file in files if file.data == what]
        share = sum(file.num_bytes for file in alike) / num_bytes
        if share >= LEAST_SHARE:
            note = f"{100 * share:.0f} % of the text of {origin.label} is {what}"
            if len(files) > 1:
                note += f" ({listed(os.path.basename(file.name) for file in alike)})"
            yield note
    copies: dict[int, list[str]] = {}
    for name, likeness in {file.name: file.likeness for file in files}.items():
        copies.setdefault(likeness, []).append(name)
    alike_names = [names for names in copies.values() if len(names) > 1]
    if alike_names:
        # Copies in several folders may have the same name.
        folder = os.path.commonpath([os.path.dirname(name) for name in chain(*alike_names)])
        repeated = [
            " = ".join(os.path.relpath(name, folder) for name in names) for names in alike_names
        ]
        yield f"{origin.label} has files that look like copies of one another: {listed(repeated)}"

    # One file of another shape says nothing about a folder.
    shapes = Counter(file.shape for file in files)
    if config.documents == "none" and shapes:
        ((shape, num),) = shapes.most_common(1)
        if shape and 2 * num > len(files):
            encoding = next(file.encoding for file in files if file.shape == shape)
            yield f"{origin.label} {shape}{_decoding(shape, encoding)}"
        else:
            yield from _notes_on_columns(origin, files)


def _notes_on_columns(origin: Origin, files: Sequence[FileRecord]) -> Iterator[str]:
    """Yield a note if most files are tables or JSON, but their columns differ."""
    all_texts = " and jq -r '.. | strings' FILE > text.txt writes all texts"
    for way, noun, otherwise in (
        (WITH_BRACES, "fields", all_texts),
        (WITH_COLUMNS, "columns", f" and {named('documents', 'lines')} whole lines"),
    ):
        alike = [file for file in files if file.columns and file.shape.startswith(way)]
        if 2 * len(alike) <= len(files):
            continue
        nums: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for file in alike:
            nums.update(file.columns.keys())
            sizes.update(file.columns)
        # What most files have may be a remark beside the texts.
        total = sizes.total()
        for name in [name for name in sizes if 2 * nums[name] <= len(alike)]:
            del sizes[name]
        name, size = max(sizes.items(), key=itemgetter(1), default=("", 0))
        if size > LEAST_SHARE * total:
            yield (
                f"{origin.label} {way}; {nums[name]:,} of {len(files):,} files have {name}: charrnn"
                f" train {shlex.quote(origin.label)} {named('column', shlex.quote(name))} reads it"
            )
        else:
            yield (
                f"{origin.label} {way}; its files have different {noun}: charrnn train FILE"
                f" {named('column', 'NAME')} reads one of a file,{otherwise}"
            )


def _decoding(shape: str, encoding: str) -> str:
    """Say how a file is brought into UTF-8 for the command that a note gives; "" if it need not."""
    # A mailbox says itself how its letters are encoded.
    is_for_text = "FILE" in shape and _TEXTS_OF_LETTERS not in shape
    if not is_for_text or encoding in ("utf-8", "utf-8-sig"):
        return ""
    return (
        "; it takes UTF-8, which"
        f" python3 -X utf8 -c \"print(open('FILE', encoding='{encoding}').read(), end='')\""
        " > utf-8.txt makes of FILE"
    )


def notes_on_changes(files: Sequence[FileRecord]) -> Iterator[str]:
    """Yield a note on each change of the text of some files: the shell may have named many
    chapters, and one note is for all of them."""
    totals: Counter[Change] = Counter()
    for file in files:
        totals += file.changes
    kinds: dict[str, Counter[str]] = {}
    for (noun, note), num in totals.items():
        if "{kinds}" in note:
            kinds.setdefault(note, Counter())[noun] += num
        else:
            label = _labels(files, {(noun, note)})
            yield note.format(num=counted(num, noun), label=label, **_agreeing_with(num))

    # The kinds of one change stand in one note, the most frequent first.
    for note, nums in kinds.items():
        listed_kinds = ", ".join(f"{num:,} {kind}" for kind, num in nums.most_common())
        label = _labels(files, {(kind, note) for kind in nums})
        yield note.format(kinds=listed_kinds, label=label)


def _labels(files: Sequence[FileRecord], changes: set[Change]) -> str:
    """Return the names of the sources whose files have one of these changes."""
    changed = [file for file in files if any(file.changes[change] for change in changes)]
    return listed(dict.fromkeys(file.label for file in changed))


def _agreeing_with(num: int) -> Mapping[str, str]:
    """Return the words of notes that agree with the number of what was changed."""
    if num == 1:
        return {
            "them": "it",
            "they_are": "it is",
            "their": "its",
            "have": "has",
            "stay": "stays",
        }
    return {
        "them": "them",
        "they_are": "they are",
        "their": "their",
        "have": "have",
        "stay": "stay",
    }


def notes_on_chats(files: Sequence[FileRecord]) -> Iterator[str]:
    """Yield a note on what chats had better not have, if they have it: one person under several
    names, and telephone numbers.

    One command mends all of it, because a second one would write over what the first has written.
    """
    found = []
    remedies = []
    edits = ["/^--- /d"]
    for first, *others in _names_alike(files):
        names = " and ".join(map(repr, [first, *others]))
        found.append(f"{names} look like one person, and are learned as {1 + len(others)}")
        edits += [f"s/^{_sought(name)}: /{_written(first)}: /" for name in others]
    if found:
        remedies.append("makes one of them")
    if with_number := [file for file in files if file.num_with_number]:
        num = sum(file.num_with_number for file in with_number)
        labels = listed(dict.fromkeys(file.label for file in with_number))
        found.append(
            f"{counted(num, 'line')} of {labels} {_agreeing_with(num)['have']} a telephone or"
            " account number"
        )
        remedies.append("puts NUMBER in the place of numbers")
        edits.append(NUMBER_BY_SED)
    if not found:
        return

    source, *further = dict.fromkeys(file.label for file in files if file.speakers)
    if further:
        source = "FILES"
    elif source == STANDARD_INPUT:
        source = "-"
    sed = " ".join(f"-e {shlex.quote(edit)}" for edit in edits)
    yield (
        f"{'; '.join(found)}: charrnn train {shlex.quote(source)} {named('show_text')} | sed -E"
        f" {sed} > mended.txt {' and '.join(remedies)}"
    )


def _names_alike(files: Sequence[FileRecord]) -> list[list[str]]:
    """Return the names in chats that differ by capitals, blanks or pictures alone: those of one
    person, whom each program calls otherwise."""
    spellings: dict[str, set[str]] = {}
    for file in files:
        for name in file.speakers:
            letters = "".join(filter(_tells_apart, normalize("NFC", name))).casefold()
            spellings.setdefault(letters, set()).add(normalize("NFC", name))
    # A name of pictures has no letters.
    return sorted(
        sorted(names) for letters, names in spellings.items() if letters and len(names) > 1
    )


def _tells_apart(sign: str) -> bool:
    """Whether two names that differ by a sign are two names: a letter, a digit, or a mark at a
    letter, such as a vowel of Hindi or Thai; but not what makes a picture of a sign."""
    is_mark = category(sign) in ("Mn", "Mc") and not _VARIATION.match(sign)
    return sign.isalnum() or is_mark


def _sought(name: str) -> str:
    """Return a name as sed -E looks for it."""
    return re.sub(r"[.\[\]*^$/\\+?(){}|]", r"\\\g<0>", name)


def _written(name: str) -> str:
    """Return a name as sed writes it."""
    return re.sub(r"[/\\&]", r"\\\g<0>", name)


def shares_of_kinds(files: Sequence[FileRecord]) -> str:
    """Say how many files of each suffix a text has, with their shares of it:
    `173 .md 71 %, 12 .eps 28 %, 40 others`; "" for a single file.

    It shows, before the training, that a folder had something in it that nobody meant.
    """
    if len(files) < 2:
        return ""
    # The suffixes that have most of the text come first.
    sizes: Counter[str] = Counter()
    nums: Counter[str] = Counter()
    for file in files:
        suffix = os.path.splitext(without_gz(file.name))[1].lower() or "without a suffix"
        sizes[suffix] += file.num_bytes
        nums[suffix] += 1
    total = max(1, sizes.total())
    shown = []
    num_others = len(files)
    for suffix, size in sizes.most_common(MOST_KINDS):
        shown.append(f"{nums[suffix]:,} {suffix} {100 * size / total:.0f} %")
        num_others -= nums[suffix]
    if num_others:
        shown.append(f"{num_others:,} others")
    return ", ".join(shown)


def looks_like_list(text: str) -> bool:
    """Whether the lines of a text are probably separate documents, such as names: short, without
    blank lines between them, rarely with punctuation at the end, not wrapped, no songs and no chat.

    It decides whether a note proposes `documents: lines`. Nothing is read otherwise because of it.
    """
    lines = text.split("\n")[:-1]
    filled = [line.rstrip() for line in lines if line.strip()]
    if len(filled) < MIN_LISTED:
        return False
    lengths = sorted(map(len, filled))
    long = lengths[95 * len(lengths) // 100]
    num_ended = num_long = 0
    for line in filled:
        # Brackets end molecules, too.
        if category(line[-1]) in ("Po", "Pf", "Pi", "Pd"):
            num_ended += 1
        if len(line) > 0.85 * long:
            num_long += 1
    is_wrapped = long > NARROW and num_long > 0.4 * len(filled)
    is_apart = len(lines) - len(filled) > 0.02 * len(lines)
    is_prose = num_ended > 0.2 * len(filled)
    is_long = lengths[len(lengths) // 2] > SHORT_LINE
    if is_long or is_wrapped or is_apart or is_prose:
        return False
    # The lines of a song follow one another again in its refrain, those of a list do not.
    pairs = Counter(pairwise(filled))
    num_in_refrains = sum(num for num in pairs.values() if num > 1)
    if num_in_refrains > MOST_IN_REFRAINS * len(filled):
        return False
    # A chat has few speakers, each of whom says much, and answers what stands before.
    speakers = [match[1] for match in map(_SPEAKER.match, filled) if match]
    return len(speakers) <= max(len(filled) / 2, 5 * len(set(speakers)))
