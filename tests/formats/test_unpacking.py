"""The page and the module unpack what zlib has packed. Tests `model_unpacking.js`."""

import json
import subprocess
import zlib

import numpy as np
import pytest
from page_in_node import NODE, SCRIPT, needs_node

from charrnn.formats.model_page.network import UNPACKING, to_digits

random = np.random.default_rng(1)
CONTENTS = {
    "nothing": b"",
    "a byte": b"a",
    "a run, which copies itself": b"ab" * 5_000,
    "words": b" ".join(b"the of and to in that he was it his with"[i : i + 7] for i in range(34)),
    "no order": random.bytes(70_000),
    "bell": np.clip(random.normal(0, 30, 60_000), -127, 127).astype(np.int8).tobytes(),
    "far back": random.bytes(300) + bytes(32_000) + random.bytes(300) * 3,
    "all bytes": bytes(range(256)) * 300,
}


def packed(content, *, level=9, strategy=zlib.Z_DEFAULT_STRATEGY):
    packer = zlib.compressobj(level, strategy=strategy)
    return packer.compress(content) + packer.flush()


def unpack_in_node(packed_contents):
    """Return what the program makes of each, in hexadecimal digits, or the message of its error."""
    call = [NODE, SCRIPT.with_name("unpacking.js"), UNPACKING]
    given = json.dumps([to_digits(one) for one in packed_contents]).encode()
    return json.loads(subprocess.run(call, input=given, capture_output=True, check=True).stdout)


@needs_node
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"level": 0},
        {"level": 1},
        {"strategy": zlib.Z_FIXED},
        {"strategy": zlib.Z_HUFFMAN_ONLY},
        {"strategy": zlib.Z_RLE},
    ],
    ids=["best", "stored", "fast", "fixed", "codes alone", "runs"],
)
def test_what_zlib_packs_is_unpacked(options):
    found = unpack_in_node([packed(content, **options) for content in CONTENTS.values()])
    assert found == [content.hex() for content in CONTENTS.values()]


@needs_node
def test_a_damaged_file_is_named_and_not_read():
    whole = packed(CONTENTS["words"])
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    assert unpack_in_node([damaged]) == ["the file is damaged: export it again"]
