"""`charrnn visualize --patch`: passages that are typed, positions in a text, what is found, and
what is refused."""

import json

import pytest
from conftest import as_json

import charrnn
from charrnn.errors import UsageError


def patch(command, *arguments):
    return dict(as_json(command("visualize", "--patch", *arguments, "--json")))


def test_typed_passages_need_no_text(command, lab, lstm, corpus):
    source, target = corpus.text[100:130], corpus.text[200:290]
    found = patch(command, "0:3", "--patch", "0:5", "--from", source, "--into", target)
    assert [(one["layer"], one["unit"]) for one in found["cells"]] == [(0, 3), (0, 5)]
    assert (
        found["source"] == {"text": source, "position": None}
        and found["target"]["text"] == target[-60:]
    )
    expected = charrnn.load(lstm.path).patch([(0, 3), (0, 5)], source=source, target=target)
    assert found == {"run": found["run"], **json.loads(json.dumps(expected.to_json()))}


def test_by_default_from_the_highest_passage_into_the_lowest(command, lab):
    found = patch(command, "0:3")
    model = charrnn.load()
    held_out = model.held_out()
    values = model.study(held_out[:], context=held_out.context).values([(0, 3)])[0]
    (cell,) = found["cells"]
    # Both are float32, one of them read in one lane from 1,024 characters before, and stored in
    # half precision.
    assert cell["source"] == pytest.approx(float(values.max()), abs=2e-3)
    assert cell["target"] == pytest.approx(float(values.min()), abs=2e-3)
    position = found["target"]["position"]
    assert held_out[: position + 1].endswith(found["target"]["text"])
    at = patch(
        command, "0:3", "--from", f"@{found['source']['position']}", "--into", f"@{position}"
    )
    assert at == found


def test_python_needs_cells_and_passages(lstm):
    model = charrnn.load(lstm.path)
    with pytest.raises(UsageError, match="There is no cell to patch"):
        model.patch([])
    with pytest.raises(UsageError, match="no text to find passages in: give `source` and `target`"):
        model.patch([(0, 1)], source="a")
    with pytest.raises(UsageError, match="`target` is position 3 of a text of 0 characters"):
        model.patch([(0, 1)], source="a", target=3)
    assert model.patch([(0, 1)], source="a", target=3, text="abcdef")._repr_html_() is not None
