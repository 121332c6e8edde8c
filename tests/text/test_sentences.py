"""Sentences end where a reader of their language ends them."""

import numpy as np
import pytest

from charrnn.text.sentences import sentence_ends


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. J. R. Berg saw it. ", "“Was it new?” he said. ", "It was."],
        ["河の音が聞こえる。", "猫は眠っている！", "空は青い？"],
        ["यह एक वाक्य है। ", "दूसरा वाक्य।"],
        ["One line\n"],
        ["“I saw him. ", "He was tall. ", "He went away.”"],
        ['"I saw him. ', 'He was tall." ', "She left. ", '"Good."\n'],
        ["‘I don’t know. ", "He’s tall.’\n"],
        ["'It is late. ", "It is dark,' he said."],
        ["«Je l’ai vu. ", "Il était grand.»"],
        ["« Je l’ai vu. ", "Il était grand. » ", "Elle partit."],
        ["„Ich sah ihn. ", "Er war groß.“ ", "Dann ging er."],
        ["»Ich sah ihn. ", "Er war groß«, sagte er."],
        ["「私は見た。", "彼は行った。」"],
        ["“He said: ‘Go. ", "Now.’ ", "Then he left.”"],
        ["“Where is he? ", "Here?” she asked. ", "“Gone.”"],
        ["“A speech without an end. ", "It goes on.\n"],
        ["Jones’ house. ", "It was ’Twas. ", "’Tis late."],
    ],
)
def test_the_ends_of_sentences(sentences):
    text = "".join(sentences)
    ends = np.cumsum([*map(len, sentences)]).tolist()
    assert [*sentence_ends(text)] == ends
    in_bytes = [len(text[:end].encode()) for end in ends]
    assert [*sentence_ends(text.encode())] == in_bytes
    assert max(sentence_ends(text.encode() + b"\xff")) == len(text.encode()) + 1


def test_nothing_has_no_sentence():
    assert [*sentence_ends("")] == [*sentence_ends(b" ")] == []
