"""Telephone and account numbers in chats are noted, with a command that takes them out."""

import re
import subprocess
from pathlib import Path

import pytest
from read_texts import read_corpus

from charrnn.text.phone_numbers import NUMBER_BY_SED, has_number

NUMBERS = [
    "my number is 0171 5550199 🌻",
    "+49 30 5550142",
    "+49\u00a0170\u00a05550143: hello",
    "(030) 555-0142",
    "0171/5550199",
    "06 12 34 56 78",
    "06-12-34-56-78",
    "12 34 56 78",
    "555-0199",
    "the iban is DE02 1203 0000 0000 2020 51",
    "DE02120300000000202051",
    "电话13955501990号",
    "@491715550199 look",
]
OTHERS = [
    "on 2024-03-05 at 21:07",
    "at 2024-03-05 21:07:12",
    "21:07:12 2024-03-05",
    "05/03/2024 21 o'clock",
    "5-3-2024",
    "from 2019-2023, or 1990 - 2000",
    "in 2019 2020 2021 2022",
    "20240305",
    "IMG_20240305_210712.jpg and IMG-20240305-WA0001.jpg",
    "open 10-12 14-16",
    "it costs 1.000.000 or 1,000,000",
    "52.5200000,13.4050000",
    "https://sea.org/status/1234567890123?id=12345678",
    "<@123456789012345678> and <#123456789012345678> <t:1618953630:R>",
    "10435 Berlin, 12.5",
    "commit 1234567abc",
]


@pytest.mark.parametrize("line", NUMBERS)
def test_a_telephone_or_account_number_is_found_and_taken_out_by_sed(line):
    assert has_number(line)
    edited = subprocess.run(
        ["sed", "-E", NUMBER_BY_SED], input=line.encode(), capture_output=True, check=True
    ).stdout.decode()
    assert "NUMBER" in edited
    assert not has_number(edited)


@pytest.mark.parametrize("line", OTHERS)
def test_dates_times_years_and_addresses_are_no_numbers(line):
    assert not has_number(line)


def test_a_chat_with_numbers_is_noted_with_a_command_that_writes_a_text_without_them(here):
    chat = "".join(
        f"11/28/26, 10:{minute} - Mara: It is 2024-03-05.\n11/28/26, 10:{minute} - Ben: Hi\n"
        for minute in range(13, 22)
    )
    Path("our chat.txt").write_text(f"{chat}11/28/26, 10:22 - Mara: call +49 30 5550142\n")
    [note] = [note for note in read_corpus(["our chat.txt"]).notes if "telephone" in note]
    assert note.startswith(
        "1 line of our chat.txt has a telephone or account number: charrnn train 'our chat.txt'"
    )
    edits = re.search(r"\| sed (.*) > mended.txt", note)[1]
    shown = "--- our chat.txt\nMara: call +49 30 5550142\n"
    mended = subprocess.run(f"sed {edits}", shell=True, input=shown.encode(), capture_output=True)
    assert mended.stdout.decode() == "Mara: call NUMBER\n"


def test_numbers_in_a_text_that_is_no_chat_are_not_noted(here):
    Path("a.txt").write_text("call +49 30 5550142\n" * 20)
    assert "telephone" not in str(read_corpus(["a.txt"]).notes)
