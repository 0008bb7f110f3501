"""Numbers that clients in other languages send: 9P's, as SigmaOS extends them (P-4, P-5, P-7)."""

from __future__ import annotations

from sigmaos_ray.sigmap import constants


def values(*names: str) -> list[int]:
    return [getattr(constants, name) for name in names]


def test_modes_are_those_of_9p() -> None:
    assert values("OREAD", "OWRITE", "ORDWR", "OEXEC", "OEXCL") == [0, 1, 2, 3, 4]
    assert values("OTRUNC", "OCEXEC", "ORCLOSE", "OAPPEND") == [0x10, 0x20, 0x40, 0x80]
    assert values("NO_OFFSET", "NO_FID") == [2**64 - 1] * 2


def test_kinds_are_those_of_9p() -> None:
    names = ("DMDIR", "DMAPPEND", "DMEXCL", "DMMOUNT", "DMAUTH", "DMTMP", "DMSYMLINK", "DMLINK")
    assert values(*names) == [1 << 31, 1 << 30, 1 << 29, 1 << 28, 1 << 27, 1 << 26, 1 << 25, 1 << 24]
    assert values("DMDEVICE", "DMREPL", "DMNAMEDPIPE", "DMSOCKET") == [1 << 23, 1 << 22, 1 << 21, 1 << 20]


def test_devices_are_told_apart() -> None:
    devices = {name: value for name, value in vars(constants).items() if name.startswith("DEV_")}
    assert len(devices) == 9
    assert sorted(devices.values()) == list(range(1, 10))
