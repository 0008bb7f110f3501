"""``sigmaos backup`` and ``restore``, as a user calls them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootbox import Box

START = ("start", "--services", "named")


def test_names_come_back_on_a_stopped_instance(box: Box) -> None:
    backup = box.root / "backup"
    box.ok(*START)
    box.put("name/ux/f", "kept")
    assert "MB" in box.ok("backup", str(backup))
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    box.ok("rm", "name/ux/f")
    assert "the instance runs" in box.fails("restore", str(backup))
    box.ok("stop")
    assert "no running instance" in box.fails("backup", str(backup))
    assert "data.before-restore" in box.ok("restore", str(backup))
    box.ok(*START)
    assert box.ok("cat", "name/ux/f") == "kept"
    box.put("name/ux/g", "goes on")
