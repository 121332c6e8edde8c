"""`charrnn visualize --patch`: passages that are typed, and what is refused."""

import json

import pytest
from conftest import as_json

import charrnn
from charrnn.errors import DataError


def patch(command, *arguments):
    return dict(as_json(command("visualize", "--patch", *arguments, "--json")))


def test_typed_passages_need_no_text(command, lab, lstm, corpus):
    source, target = corpus.text[100:130], corpus.text[200:290]
    found = patch(command, "0:3", "--patch", "0:5", "--from", source, "--into", target)
    assert [(one["layer"], one["unit"]) for one in found["cells"]] == [(0, 3), (0, 5)]
    assert found["source"] == source
    assert found["target"] == target[-60:]
    expected = charrnn.load(lstm.path).patch([(0, 3), (0, 5)], source=source, target=target)
    assert found == {"run": found["run"], **json.loads(json.dumps(expected.to_json()))}


def test_an_empty_passage_is_refused(lstm):
    with pytest.raises(DataError, match="`target` is empty: give at least one character"):
        charrnn.load(lstm.path).patch([(0, 1)], source="a", target="")
