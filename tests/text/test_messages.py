"""Chats are parsed into messages, which are kept or left out as a whole."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_texts import read_corpus

from charrnn.text.messages import EXPORTS, find_stamps

pytestmark = pytest.mark.usefixtures("here")
FORMS = {
    "Arabic": "٥‏/٣‏/٢٠٢٤، ٩:{:02} م - {}: {}",
    "Bulgarian": "12.03.24 г., 21:{:02} ч. - {}: {}",
    "Chinese": "2024/3/5 下午9:{:02} - {}: {}",
    "Chinese on an iPhone": "[2024/3/5 下午9:{:02}:12] {}: {}",
    "Croatian": "05. 03. 2024. 21:{:02} - {}: {}",
    "English of months": "[5 Mar 2024, 21:{:02}:12] {}: {}",
    "Finnish": "12.3.2024 klo 21.{:02} - {}: {}",
    "French of Canada": "2024-03-05 21 h {:02} - {}: {}",
    "German": "12.03.24 um 21:{:02} - {}: {}",
    "Greek": "12/3/24, 9:{:02} μ.μ. - {}: {}",
    "Hungarian": "2024. 03. 05. 21:{:02} - {}: {}",
    "Korean": "2024년 3월 5일 오후 9:{:02}, {} : {}",
    "Korean on an iPhone": "[2024. 3. 5. 오후 9:{:02}:12] {}: {}",
    "Persian": "۱۴۰۲/۱۲/۱۵،‏ ۲۱:{:02} - {}: {}",
    "Vietnamese": "21:{:02}, 05/03/2024 - {}: {}",
    "an iPhone": "\u200e[05.03.24, 21:{:02}:12] {}: {}",
}
NAMES = ("Ana", "ben", '[Sea] "Zo" Berg', "山田", "+49 170 123")
SAID = st.text(st.sampled_from("abc ä:,.!-0:1日 "), min_size=1, max_size=20).map(str.strip)
LINES = st.lists(SAID.filter(bool), min_size=1, max_size=3)


def read(content, name="_chat.txt", **options):
    Path(name).write_text(content)
    return read_corpus([name], is_for_training=False, **options)


def stamped(form, said, minute=0):
    return form.format(minute % 60, *said) + "\n"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_chat_is_known_in_any_language(form):
    said = [(NAMES[number % 5], f"It rains: {number}.") for number in range(12)]
    corpus = read("".join(stamped(form, one, number) for number, one in enumerate(said)))
    assert corpus.content == "".join(f"{name}: {text}\n" for name, text in said)
    assert "the dates and times of a chat (12 messages)" in corpus.notes[0]


@pytest.mark.parametrize(
    "kind, line",
    [
        ("WhatsApp on an iPhone", "[05.03.24, 21:07:12] Ana: It rains."),
        ("WhatsApp on Android", "12.03.24, 21:07 - Ana: It rains."),
        ("KakaoTalk", "2024년 3월 5일 오후 9:07, Ana : It rains."),
    ],
)
def test_a_kind_of_export_is_known_by_its_stamp_alone(kind, line):
    assert [name for name, find in EXPORTS.items() if find(line, 0)] == [kind]


def test_a_mark_of_writing_direction_behind_a_stamp_hides_no_message():
    stamp = "[05.03.24, 21:{:02}:12] "
    said = "".join(
        f"{stamp.format(minute)}{mark}Ana: It rains.\n"
        for minute, mark in enumerate(8 * ["", "\u200e"])
    )
    corpus = read(said)
    assert corpus.content == 16 * "Ana: It rains.\n"
    assert "16 messages" in corpus.notes[-1]


TALK = "".join(f"12/03/24, 21:{n:02} - {'Ana' if n % 2 else 'Ben'}: words {n}\n" for n in range(40))
SAID_IN_TALK = "".join(f"{'Ana' if n % 2 else 'Ben'}: words {n}\n" for n in range(40))


@pytest.mark.parametrize(
    "message, kept",
    [
        ("Ana: IMG-20240312-WA0001.jpg (file attached)\nA caption\n", "Ana: A caption\n"),
        ("Ana: <Media omitted>\nA caption\nof two\n", "Ana: A caption\nof two\n"),
        ("Ana: Urlaub.pdf (Datei angehängt)\n", ""),
        ("Ana: Hi.vcf (file attached)\n", ""),
        ("Ana: at a.de (new)\n", "Ana: at a.de (new)\n"),
        (
            "Ana: Budget.pdf • \u200e2 pages \u200e<attached: 12-Budget.pdf>\nNote it.\n",
            "Ana: Note it.\n",
        ),
        ("Ana: null\n", ""),
        ("Ana: Missed voice call\n", ""),
        ("Ana: This message was deleted\n", ""),
        ("Ana: Stay.\u200e<This message was edited>\n", "Ana: Stay.\n"),
        ('Ana changed the subject from "Trip" to "Trip: Rome"\n', ""),
        ("You were added\n", ""),
        ("Ana: \u200ePOLL:\nWhere to?\n\u200eOPTION: Rome (\u200e2 votes)\n", ""),
        ("Ana: UMFRAGE:\nWohin?\nOPTION: Rom (2 Stimmen)\nOPTION: Bonn (0 Stimmen)\n\n", ""),
        ("Ana: POLL:\nWhere to?\nRome (2 votes)\n", "Ana: POLL:\nWhere to?\nRome (2 votes)\n"),
        ("Ana: OPTION: Rome (2 votes)\n", "Ana: OPTION: Rome (2 votes)\n"),
        ("Ana: location: https://maps.google.com/?q=52.5200,-13.4050\n", ""),
        (
            "Ana: the harbour is here: https://maps.google.com/?q=52.5,13.4\n",
            "Ana: the harbour is here: https://maps.google.com/?q=52.5,13.4\n",
        ),
        ("Ana: one\n\ntwo\nthree: four\n", "Ana: one\n\ntwo\nthree: four\n"),
        ("Ana: try\n<div>\nnull\nend\n", "Ana: try\n<div>\nnull\nend\n"),
    ],
)
def test_a_message_is_kept_or_left_out_whole_and_a_caption_keeps_its_name(message, kept):
    content = f"{TALK}12/03/24, 21:41 - {message}"
    assert read(content).content == SAID_IN_TALK + kept
    assert read(content, clean=False).content == content


@pytest.mark.parametrize(
    "message, kind",
    [
        ("You were added", "of the program"),
        ("Ana: Missed voice call", "of the program"),
        ("Ana: \u200eBen left", "of the program"),
        ("Ana: This message was deleted", "deleted"),
        ("Ana: \u200eYou deleted this message.", "deleted"),
        ("Ana: <Media omitted>", "with photos or files"),
        ("Ana: Urlaub.pdf (Datei angehängt)", "with photos or files"),
        ("Ana: \u200eBild weggelassen", "with photos or files"),
        ("Ana: \u200e<attached: 12-PHOTO.jpg>", "with photos or files"),
        ("Ana: Hi.vcf (file attached)", "with a contact"),
        ("Ana: \u200eContact card omitted", "with a contact"),
        ("Ana: POLL:\nWhere to?\nOPTION: Rome (1 vote)", "with a poll"),
        ("Ana: \u200eENCUESTA:\n¿Adónde?\n\u200eOPCIÓN: Roma (\u200e1 voto)", "with a poll"),
        ("Ana: \u200eLocation: https://maps.google.com/?q=52.52,13.40", "with a place"),
        ("Ana: ubicación: https://maps.google.com/?q=52.52,13.40", "with a place"),
        ("Ana: null", "without a text"),
        ("Ana: <Se editó este mensaje.>", "without a text"),
    ],
)
def test_a_message_that_nobody_wrote_is_counted_by_its_kind(message, kind):
    corpus = read(f"{TALK}12/03/24, 21:41 - {message}\n")
    assert corpus.content == SAID_IN_TALK
    assert corpus.notes[-1] == f"messages left out of _chat.txt: 1 {kind}"


@pytest.mark.parametrize(
    "mark",
    [
        "\u200e<This message was edited>",
        "\u200e<Viestiä muokattiin>",
        "<This message was edited>",
        "<Diese Nachricht wurde bearbeitet.>",
        "<Se editó este mensaje.>",
        "<Ce message a été modifié>",
        "<Mensagem editada>",
        "<Questo messaggio è stato modificato>",
        "<Dit bericht is bewerkt>",
    ],
)
def test_the_mark_behind_an_edited_message_is_left_out_and_counted(mark):
    corpus = read(f"{TALK}12/03/24, 21:41 - Ana: Stay.\nOr go. {mark}\n")
    assert corpus.content == f"{SAID_IN_TALK}Ana: Stay.\nOr go.\n"
    assert "left out of _chat.txt: 1 mark behind edited messages" in str(corpus.notes)


def test_a_mark_of_edited_messages_within_a_sentence_stays():
    said = "Ana: It has <This message was edited> behind it.\n"
    assert read(f"{TALK}12/03/24, 21:41 - {said}").content == SAID_IN_TALK + said


@pytest.mark.parametrize(
    "form",
    [
        "30/11/2026, 14:{:02} - {}: {}",
        "2026-11-30 14:{:02} - {}: {}",
        "[30/11/2026, 14:{:02}:12] {}: {}",
        "[2026-11-30 14:{:02}:12] {}: {}\u200e",
    ],
)
def test_names_may_be_in_lower_case(form):
    said = 6 * [("mum", "It rains: yes."), ("j.smith", "It does not.")]
    corpus = read("".join(stamped(form, one, number) for number, one in enumerate(said)))
    assert corpus.content == "".join(f"{name}: {text}\n" for name, text in said)
    assert "the dates and times of a chat (12 messages)" in str(corpus.notes)


@pytest.mark.parametrize("name", ["nginx", "app.main", "sshd[12]", "host sshd[1] x"])
@pytest.mark.parametrize(
    "form", ["[2026-11-28 10:00:{:02}] {}: {}", "28.11.2026 10:00:{:02} - {}: {}"]
)
def test_a_log_of_programs_stays(form, name):
    log = "".join(stamped(form, (name, "it rains"), number) for number in range(12))
    assert read(log).content == log


def test_a_group_begins_with_what_the_program_says_and_a_letter_may_be_first():
    added = "".join(f"12/03/24, 20:{n:02} - You added P{n}\n" for n in range(24))
    assert read(added + TALK).content == SAID_IN_TALK
    letter = "12/03/24, 20:00 - Ana: Dear Ben,\n" + "and so on\n" * 14
    assert read(letter + TALK).content == letter[18:] + SAID_IN_TALK


def test_what_only_looks_like_a_chat_stays():
    diary = "".join(
        f"12/03/24, 21:{n:02} - It rained{': much' if n % 3 else ''}\n" for n in range(30)
    )
    corpus = read(diary)
    assert corpus.content == diary
    some = "".join(f"12/03/24, 21:{n:02} - {'Ana: x' if n % 3 else 'rain'}\n" for n in range(30))
    assert read(some).content == some
    assert "like a chat of 30 messages" in read(some).notes[-1]


@pytest.mark.parametrize(
    "line", ["[21:0{}] <ana> It rains.", "21:0{}\tAna\tIt rains.", "[Ana] [오후 9:0{}] It rains."]
)
def test_other_chats_are_noted(line):
    said = "".join(line.format(minute) + "\n" for minute in range(9))
    assert "is a chat with its times" in read(f"of Monday\n\n{said}").notes[-1]


@pytest.mark.parametrize("line", ["1" * 5000, "1. " * 3000, "2024-03-05 " * 900, "[1:" * 2000])
def test_no_line_takes_long(line):
    started = time.process_time()
    assert find_stamps(f"{line}\n" * 20) == []
    assert time.process_time() - started < 2


def check_chat(form, messages):
    said = [(NAMES[number % 2], "\n".join(lines)) for number, lines in enumerate(messages)]
    content = "".join(stamped(form, one, number) for number, one in enumerate(said))
    assert read(content).content == "".join(f"{name}: {text}\n" for name, text in said)


CHATS = {
    "form": st.sampled_from([*FORMS.values()]),
    "messages": st.lists(LINES, min_size=6, max_size=9),
}


@settings(max_examples=30)
@given(**CHATS)
def test_chats_of_known_text_lose_and_add_nothing(form, messages):
    check_chat(form, messages)


@pytest.mark.thorough
@settings(max_examples=300)
@given(**CHATS)
def test_many_chats_of_known_text_lose_and_add_nothing(form, messages):
    check_chat(form, messages)
