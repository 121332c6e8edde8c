"""A folder for a cache is the user's own, and a folder around it that others can write to is
named."""

import os
import sys

import pytest

from charrnn.system.cache_folders import _warn_of, private_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")


@pytest.mark.parametrize(
    "mode, is_warned", [(0o777, True), (0o1777, False), (0o755, False), (0o775, False)]
)
def test_a_folder_in_which_others_can_rename_the_cache_is_named(tmp_path, recwarn, mode, is_warned):
    tmp_path.chmod(mode)
    os.chown(tmp_path, -1, os.getegid())
    _warn_of.cache_clear()
    assert private_folder(tmp_path / "cache") == tmp_path / "cache"
    assert any("can rename the cache" in str(one.message) for one in recwarn) is is_warned
