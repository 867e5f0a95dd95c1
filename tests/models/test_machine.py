"""The probe tells of the machine it runs on."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from llmos.models import machine


def test_the_probe_sees_memory_cores_and_a_cpu() -> None:
    here = machine.probe()
    assert 0 < here.memory_available <= here.memory_total <= psutil.virtual_memory().total
    assert here.cores >= 1
    assert not here.problem
    assert any(device.kind == "cpu" and device.total > 0 for device in here.devices)
    assert "=" in here.system


def test_a_broken_llama_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    here = machine.probe()
    assert here.problem and here.devices == ()
    assert here.memory_total > 0


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("700000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000000\n")
    assert machine._container(tmp_path) == (2_000_000_000, 500_000_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._container(tmp_path) is None
    assert machine._container(tmp_path / "nowhere") is None
    monkeypatch.setattr(machine, "_container", lambda: (2_000_000_000, 500_000_000))
    here = machine.probe(llama=False)
    assert here.memory_total == 2_000_000_000
    assert here.memory_available <= 1_500_000_000


def test_graphics_cards_are_named_by_their_maker(tmp_path: Path) -> None:
    for card, vendor in (("card0", "0x10de"), ("card1", "0x1002"), ("card2", "0x1af4")):
        folder = tmp_path / card / "device"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
    assert machine.graphics_cards(tmp_path) == ("AMD", "NVIDIA")
    assert machine.graphics_cards(tmp_path / "nowhere") == ()
