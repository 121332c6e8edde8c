"""Run files with hostile content, and checks of what exported files may contain."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from command_lines import steering
from elements import Elements
from terminals import HOSTILE, IN_A_NAME, IN_A_TEXT

from charrnn.config.settings import FIELD_NAMES


def damaged(run: Path) -> Iterator[str]:
    """Put something hostile into one file of a run after the other, each whole again before the
    next."""
    step = run / (run / "best").read_text().strip()
    config = (run / "config.yaml").read_text()
    for field in FIELD_NAMES[::6]:
        wrong = re.sub(
            rf"(?ms)^{field}: .*?(?=^\w|\Z)",
            f"{field}: {json.dumps(HOSTILE)}\n".replace("\\", r"\\"),
            config,
        )
        (run / "config.yaml").write_text(wrong)
        yield f"config.yaml {field}"
    (run / "config.yaml").write_text(f"{json.dumps(HOSTILE)}: 1\n")
    yield "config.yaml key"
    (run / "config.yaml").write_text(config)
    for path in (
        run / "vocab.json",
        step / "manifest.json",
        run / "metrics.jsonl",
        step / "model.safetensors",
    ):
        whole = path.read_bytes()
        values: dict[str, object] = {
            "list": [HOSTILE],
            "object": {
                HOSTILE: HOSTILE,
                "kind": HOSTILE,
                "format": HOSTILE,
                "files": {HOSTILE: HOSTILE},
            },
            "characters": {"kind": "char", "characters": ["", HOSTILE]},
            "kind": {"kind": "char", "characters": HOSTILE},
        }
        parts = {"text": IN_A_TEXT.encode()} | {
            name: json.dumps(value).encode() for name, value in values.items()
        }
        for name, content in parts.items():
            path.write_bytes(content)
            yield f"{path.name} {name}"
        path.write_bytes(whole)
    for pointer in ("latest", "best"):
        whole = (run / pointer).read_bytes()
        (run / pointer).write_bytes(IN_A_TEXT.encode())
        yield pointer
        (run / pointer).write_bytes(whole)
    (run / f"step-{IN_A_NAME}").mkdir()
    yield "step"


def assert_is_safe(path: Path) -> None:
    """That a file has nothing in it that steers, asks the network or runs, but the page's own
    script."""
    spelled = path.read_bytes().decode("utf-8")
    assert steering(spelled) == []
    if path.suffix == ".html":
        page = Elements(spelled)
        assert not {"img", "iframe", "link", "object", "form", "base"} & set(page.tags)
        # The page of cells has links to its own parts.
        assert not {
            name
            for name, value in page.attributes
            if name.startswith("on")
            or name == "src"
            or (name == "href" and not re.fullmatch(r"#cell-\d+-\d+", value))
        }
        assert not page.scripts
    elif path.suffix == ".svg":
        root = ElementTree.fromstring(spelled)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "title", "style", "rect", "g", "text", "path"}
        sheets = [element.text or "" for element in root.iter() if element.tag.endswith("}style")]
        colour = "#[0-9a-f]{6}"
        letters = rf"\.\w+-r\d+ \{{ fill: {colour}(?:;[a-z-]+: [a-z]+)*;? \}}\s*"
        shapes = rf'\.charrnn \[(fill|stroke)="{colour}"\] \{{ \1: {colour} \}}\s*'
        dark = rf"@media \(prefers-color-scheme: dark\) \{{\s*(?:{letters})*(?:{shapes})*\}}\s*"
        assert len(sheets) == 1 and re.fullmatch(rf"\s*(?:{letters})*{dark}", sheets[0]), (
            "the program's own sheet, of colours and of bold and underlined letters"
        )
        assert not {
            name
            for element in root.iter()
            for name in element.attrib
            if "href" in name or name.startswith("on")
        }
    elif path.suffix == ".json":
        json.loads(spelled)
