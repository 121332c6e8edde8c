"""Values as JSON that every parser accepts and every terminal can print."""

import json
from typing import Any


def to_json(value: Any) -> str:
    """Encode a value as one line of printable ASCII. Also escapes DEL, the one control character JSON leaves as it is.

    Numbers that are not finite become null.
    """
    return json.dumps(replace_non_finite(value), ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


def replace_non_finite(value: Any) -> Any:
    """Replace infinities and nan in a nested value by None, because JSON has no notation for them."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
