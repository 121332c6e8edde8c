"""A draft is the old one or the new one, whenever the process is killed or the power fails while it is saved."""

import errno
from pathlib import Path

import pytest
from faulty_disk import Killed, faulty_disk

from charrnn.apps.write.drafts import read_draft
from charrnn.errors import CharRNNError

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the faulty disk needs /proc")


def save(path: Path) -> None:
    read_draft(path).save("new text")


def num_operations(path: Path) -> int:
    path.write_text("old text")
    with faulty_disk(path.parent) as disk:
        save(path)
    assert path.read_text() == "new text"
    assert {"write", "fsync"} <= {operation for operation, _ in disk.seen}
    return len(disk.seen)


@pytest.mark.parametrize("has_power", [True, False])
def test_a_crash_leaves_the_old_draft_or_the_new_one(tmp_path: Path, has_power: bool) -> None:
    path, seen = tmp_path / "draft.txt", set()
    for at in range(1, num_operations(path) + 1):
        path.write_text("old text")
        with faulty_disk(tmp_path, at) as disk, pytest.raises(Killed):
            save(path)
        if not has_power:
            disk.cut_power()
        seen.add(path.read_text())
    assert seen <= {"old text", "new text"} and "old text" in seen


def test_a_full_disk_leaves_the_old_draft_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    for at in range(1, num_operations(path) + 1):
        path.write_text("old text")
        with faulty_disk(tmp_path, at, lambda: OSError(errno.ENOSPC, "No space left on device")) as disk:
            try:
                save(path)
            except CharRNNError as error:
                assert "No space left" in str(error)
        assert path.read_text() in ("old text", "new text")
        if disk.seen[-1][0] != "fsync":
            assert [one.name for one in tmp_path.iterdir()] in (["draft.txt"], [])
