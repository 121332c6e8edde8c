"""Chats in JSON are read with their names, and what is left out is counted by its kind."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from read_texts import read_corpus

pytestmark = pytest.mark.usefixtures("here")


def write(content, name):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps(content, indent=1))


def read(content, name="a.json"):
    write(content, name)
    return read_corpus([name], is_for_training=False)


MESSENGER = {
    "participants": [{"name": "Ana"}],
    "messages": [
        {
            "sender_name": "Zo\u00c3\u00ab",
            "content": "Gr\u00c3\u00bc\u00c3\u009fe",
            "timestamp_ms": 2,
        },
        {"sender_name": "Ana", "content": "It rains.", "timestamp_ms": 1},
    ],
}
ENCRYPTED_MESSENGER = {
    "threadName": "Ana_1",
    "messages": [
        {"senderName": "Zoë", "text": "Grüße", "timestamp": 2, "type": "text", "media": []},
        {"senderName": "Ana", "text": "It rains.", "timestamp": 1, "type": "text", "media": []},
    ],
}
TELEGRAM = {
    "chats": {
        "list": [
            {
                "messages": [
                    {"type": "service", "text": ""},
                    {"from": "Ana", "text": ["It ", {"type": "bold", "text": "rains."}]},
                    {"from": "Zoë", "text": "Grüße"},
                ]
            }
        ]
    }
}
DISCORD = {
    "guild": {"name": "rain"},
    "messages": [
        {"type": "GuildMemberJoin", "author": {"name": "Ana"}, "content": "Joined the server."},
        {"type": "Default", "author": {"name": "Ana"}, "content": "It rains."},
        {"author": {"name": "Ben"}, "content": ""},
        {"author": {"name": "Zoë"}, "content": "Grüße"},
    ],
}
SLACK = [
    {"ts": "0.5", "subtype": "channel_join", "user": "U1", "text": "<@U1> has joined the channel"},
    {"ts": "1.5", "user": "U1", "text": "It rains.", "user_profile": {"real_name": "Ana"}},
    {"ts": "2.5", "user": "Zoë", "text": "Grüße"},
]


@pytest.mark.parametrize("chat", [MESSENGER, ENCRYPTED_MESSENGER, TELEGRAM, DISCORD, SLACK])
def test_a_chat_in_json_is_read_with_its_names(chat):
    corpus = read(chat)
    assert corpus.content == "Ana: It rains.\nZoë: Grüße\n"
    assert "read 2 messages of a.json out of its JSON" in corpus.notes[0]


def of_messenger(text="", **fields):
    return {"sender_name": "Ana", "timestamp_ms": 1, "content": text, **fields}


def of_telegram(text="", **fields):
    return {
        "type": "message",
        "from": "Ana",
        "from_id": "user1",
        "date": "",
        "text": text,
        **fields,
    }


def of_slack(text="", **fields):
    return {"type": "message", "user": "Ana", "ts": "1.0", "text": text, **fields}


def of_discord(text="", **fields):
    author = {"id": "1", "name": "Ana"}
    return {"type": "Default", "timestamp": "", "author": author, "content": text, **fields}


def of_chatgpt(text="", kind="text", role="Ana"):
    return {"author": {"role": role}, "content": {"content_type": kind, "parts": [text]}}


@pytest.mark.parametrize(
    "message, fields, kind",
    [
        (of_messenger, {"type": "Call", "text": "Ana called you."}, "of the program"),
        (of_messenger, {"call_duration": 4, "text": "Ana called you."}, "of the program"),
        (of_messenger, {"type": "Subscribe", "text": "Ana added Ben."}, "of the program"),
        (of_messenger, {"is_unsent": True}, "deleted"),
        (of_messenger, {"photos": [{"uri": "1.jpg"}]}, "with photos"),
        (of_messenger, {"sticker": {"uri": "1.png"}}, "with a sticker"),
        (of_messenger, {"audio_files": [{"uri": "1.mp4"}]}, "with a voice message"),
        (of_messenger, {"share": {"link": "https://sea"}}, "with a link"),
        (of_messenger, {}, "without a text"),
        (of_messenger, {"sender_name": "", "text": "Stay."}, "without a name"),
        (of_telegram, {"type": "service", "action": "phone_call"}, "of the program"),
        (of_telegram, {"media_type": "sticker", "sticker_emoji": "x"}, "with a sticker"),
        (of_telegram, {"media_type": "voice_message", "file": "1"}, "with a voice message"),
        (of_telegram, {"photo": "1.jpg"}, "with photos"),
        (of_telegram, {"poll": {"question": "Where?"}}, "with a poll"),
        (of_telegram, {"location_information": {"latitude": 1}}, "with a place"),
        (of_slack, {"subtype": "channel_topic", "text": "set the topic"}, "of the program"),
        (of_slack, {"subtype": "tombstone", "text": "It was deleted."}, "deleted"),
        (of_slack, {"files": [{"id": "F1"}]}, "with files"),
        (of_slack, {"attachments": [{"fallback": "x"}]}, "with attachments"),
        (of_discord, {"type": "ChannelPinnedMessage", "text": "Pinned."}, "of the program"),
        (of_discord, {"type": "8"}, "of the program"),
        (of_discord, {"attachments": [{"id": "3"}]}, "with files"),
        (of_discord, {"embeds": [{"title": "x"}]}, "with an embed"),
        (of_discord, {"forwardedMessage": {"content": "x"}}, "forwarded"),
        (of_chatgpt, {"role": "system"}, "of the program"),
        (of_chatgpt, {"kind": "multimodal_text"}, "with photos"),
        (of_chatgpt, {"kind": "execution_output"}, "of a tool or a thought"),
    ],
)
def test_a_message_that_nobody_wrote_is_left_out_and_counted(message, fields, kind):
    corpus = read({"messages": [message("It rains."), message(**fields)]})
    assert corpus.content == "Ana: It rains.\n"
    assert corpus.notes[-1] == f"messages left out of a.json: 1 {kind}"


def test_the_kinds_of_what_is_left_out_stand_in_one_note_for_a_folder():
    messages = [of_telegram("It rains."), of_telegram(photo="1.jpg")]
    write({"messages": messages}, "chats/a.json")
    write({"messages": [*messages, of_telegram(type="service")]}, "chats/b.json")
    notes = read_corpus(["chats"], is_for_training=False).notes
    assert "messages left out of chats: 2 with photos, 1 of the program" in notes


@pytest.mark.parametrize("kind", ["channel_join", "huddle_thread"])
def test_a_day_on_which_nobody_wrote_adds_nothing(kind):
    write([of_slack("joined", subtype=kind)], "chats/a.json")
    write([of_slack("It rains.")], "chats/b.json")
    assert read_corpus(["chats"], is_for_training=False).content == "Ana: It rains.\n"


def test_what_a_bot_writes_stays_under_its_name():
    bot = {"ts": "1.0", "subtype": "bot_message", "username": "Lamp", "text": "It is lit."}
    assert read([of_slack("It rains."), bot]).content == "Ana: It rains.\nLamp: It is lit.\n"
    account = of_telegram("Farewell.") | {"from": None, "from_id": "user7"}
    assert read([of_telegram("Stay."), account]).content == "Ana: Stay.\nuser7: Farewell.\n"


IN_SLACK = [
    of_slack("It rains.", user="U1", user_profile={"real_name": "Ana"}),
    of_slack("It does.", user="U2", user_profile={"real_name": "Ben", "name": "b"}),
    {"id": "C9", "name": "sea"},
]


@pytest.mark.parametrize(
    "written, read_as",
    [
        ("<@U2> look", "@Ben look"),
        ("<@U2|benny>", "@Ben"),
        ("<@U7|cy> and <#C7|general> and <#C9>", "@cy and #general and #sea"),
        ("<https://sea.org/1?a=b&amp;c|here> <https://sea.org>", "here https://sea.org"),
        ("<mailto:ana@sea.org|ana@sea.org>", "ana@sea.org"),
        ("<!here> <!channel> <!subteam^S1|@crew>", "@here @channel @crew"),
        ("<!date^1392734382^{date}|February 18th>", "February 18th"),
        ("&lt;@U2&gt; &amp;lt; :smile: *bold*", "<@U2> &lt; :smile: *bold*"),
    ],
)
def test_mentions_links_and_channels_of_slack_have_names(written, read_as):
    corpus = read([*IN_SLACK, of_slack(written, user="U1")])
    assert corpus.content == f"Ana: It rains.\nBen: It does.\nAna: {read_as}\n"
    assert "codes" not in corpus.notes[-1]


def test_mentions_and_emoji_of_discord_have_names():
    mentions = [{"id": "42", "name": "Ben"}, {"id": "43", "name": "Cy"}]
    written = "<@42> and <@!43>: <:cat:77> <a:dog:78> </play:5> <https://sea.org> in <#9> **now**"
    chat = {"channel": {"id": "9", "name": "sea"}, "messages": [of_discord(written)]}
    chat["messages"][0]["mentions"] = mentions
    read_as = "@Ben and @Cy: :cat: :dog: /play https://sea.org in #sea **now**"
    assert read(chat).content == f"Ana: {read_as}\n"


def test_mentions_without_a_name_stay_and_are_counted():
    written = "<@U7> <#C7> <!subteam^S1> <@U7>"
    corpus = read([of_slack(written)])
    assert corpus.content == f"Ana: {written}\n"
    assert corpus.notes[-1] == (
        "mentions that stay as codes in a.json, which has no names for them:"
        " 2 of people (<@…>), 1 of channels (<#…>), 1 of groups or times (<!…>)"
    )
    written = "<@7> <@&8> <t:1618953630:R>"
    corpus = read([of_discord(written)])
    assert corpus.content == f"Ana: {written}\n"
    assert "2 of people (<@…>), 1 of times (<t:…>)" in corpus.notes[-1]


def test_conversations_are_parted_by_blank_lines():
    talks = [{"messages": [{"from": "Ana", "text": text}]} for text in ("Stay.", "Go.")]
    assert read(talks).content == "Ana: Stay.\n\nAna: Go.\n"


@pytest.mark.parametrize(
    "other",
    [
        {"from": 1, "to": [{"user": "x"}]},
        [{"author": "Ana", "title": "Rain", "text": "It fell."}] * 9,
        {"user": "x", "date": 1, "deep": "[" * 3},
    ],
)
def test_other_json_stays_as_it_is(other):
    assert read(other).content == json.dumps(other, indent=1)


def test_json_may_be_nested_deeply():
    Path("a.json").write_text('{"user": ' + "[" * 900 + "]" * 900 + ', "ts": 1}')
    assert "[[[" in str(read_corpus(["a.json"], is_for_training=False).content)


def test_the_oldest_message_comes_first_also_where_times_are_missing():
    for times in ((None, 1), (2, 1)):
        messages = [of_messenger("It rains.", timestamp_ms=time) for time in times]
        assert read(messages).content == 2 * "Ana: It rains.\n"


def test_a_conversation_with_chatgpt_is_read_out_of_its_tree():
    said = (("system", ""), ("user", "Go?"), ("assistant", "Go."))
    nodes = {role: {"message": of_chatgpt(text, role=role)} for role, text in said}
    nodes["root"] = {"message": None}
    talks = [{"title": "Talk", "mapping": nodes}, {"title": "Same", "mapping": nodes}]
    talks += [{"title": "", "mapping": {}}] * 50
    talk = "user: Go?\nassistant: Go.\n"
    chat = read(talks, "conversations.json")
    assert chat.content == f"{talk}\n{talk}"
    assert "read 4 messages of conversations.json out of its JSON" in chat.notes[0]


def test_one_person_under_two_names_is_noted_with_a_command_that_joins_them():
    written = "".join(
        f"11/28/26, 10:{minute} - Mara 🌻: It rains.\n11/28/26, 10:{minute} - Ben: So?\n"
        for minute in range(13, 22)
    )
    Path("phone.txt").write_text(written)
    write({"messages": [{"author": {"name": "mara"}, "content": "Grüße"}]}, "discord.json")
    corpus = read_corpus(["phone.txt", "discord.json"])
    [note] = [note for note in corpus.notes if "one person" in note]
    assert note.startswith("'Mara 🌻' and 'mara' look like one person, and are learned as 2")

    shown = "--- phone.txt\nMara 🌻: It rains.\n--- discord.json\nmara: Grüße\n"
    assert "charrnn train FILES" in note
    edits = re.search(r"\| sed (.*) > mended.txt", note)[1]
    joined = subprocess.run(f"sed {edits}", shell=True, input=shown.encode(), capture_output=True)
    assert joined.stdout.decode() == "Mara 🌻: It rains.\nMara 🌻: Grüße\n"


def test_one_command_joins_all_people_and_takes_numbers_out():
    names = ("Ana (work)", "ana WORK", "Be[n]/&", "ben", "ben 🌻")
    people = [{"author": {"name": name}, "content": "+49 30 5550142"} for name in names]
    [note] = [note for note in read({"messages": people}, "our chat.json").notes if "one" in note]
    assert "5 lines of our chat.json have a telephone or account number" in note
    assert note.count("mended.txt") == 1
    assert "charrnn train 'our chat.json'" in note
    edits = re.search(r"\| sed (.*) > mended.txt", note)[1]
    shown = "".join(f"{name}: 0171 5550199\n" for name in names)
    mended = subprocess.run(f"sed {edits}", shell=True, input=shown.encode(), capture_output=True)
    joined = 2 * "Ana (work): NUMBER\n" + 3 * "Be[n]/&: NUMBER\n"
    assert mended.stdout.decode() == joined


def test_names_of_several_people_are_not_noted():
    names = ("Ana", "Anna", "🌻", "🌧", "मीना", "मोना", "मनु", "กี", "กู")
    people = [{"author": {"name": name}, "content": "Hi"} for name in names]
    assert "one person" not in str(read({"messages": people}).notes)
