"""Training in several processes."""

from collections.abc import Sequence

from charrnn.hooks import hookimpl
from charrnn.hooks.specifications import ProcessSupport


@hookimpl
def process_supports() -> Sequence[ProcessSupport]:
    """Return what training needs of several processes."""
    from charrnn.distributed.processes import SUPPORT

    return [SUPPORT]
