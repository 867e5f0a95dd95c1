"""The doctor finds what is wrong, says what to do, and never falls ill itself."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmos import config, paths
from llmos import doctor as module
from llmos.config import Config, EngineConfig, MemoryConfig
from llmos.doctor import Check, doctor, examine
from llmos.events import Message
from llmos.memory.journal import Journal
from llmos.models import hardware, machine
from llmos.models.hardware import Device, Hardware
from llmos.sandbox.bubblewrap import Bubblewrap
from llmos.sandbox.probes import Probed

GB = 10**9
CPU = Device("CPU", "Some CPU", "cpu", 16 * GB, 16 * GB)
MACHINE = Hardware(
    16 * GB, 12 * GB, 8, (CPU,), system="CPU : AVX2 = 1 | FMA = 1 | NEON = 1 | AVX512 = 0"
)


@pytest.fixture(autouse=True)
def _no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """All escapes take seconds: tests/sandbox/test_probes.py tries them."""
    monkeypatch.setattr(module.tiers, "available", lambda: ())


def check(name: str, settings: Config | None = None, on: Hardware = MACHINE) -> Check:
    return next(c for c in examine(settings or Config(), on) if c.name == name)


def test_a_sound_installation_has_nothing_failed(
    starter_weights: Path, embedder_weights: Path, embedder_tokenizer: Path
) -> None:
    checks = examine()
    assert [c for c in checks if c.status == "fail"] == []
    names = [c.name for c in checks]
    for name in ("python", "settings", "llama.cpp", "gpu", "model", "memory", "embedder"):
        assert name in names
    for name in ("state", "socket", "kernel", "terminal", "sandbox"):
        assert name in names
    assert all(c.detail.strip() for c in checks)
    assert all(c.remedy for c in checks if c.status != "ok")


def test_printing_marks_and_exits_by_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = [Check("a", "ok", "Good."), Check("b", "warn", "So so.", "Do this.")]
    monkeypatch.setattr(module, "examinations", lambda *_: iter(fake))
    result = CliRunner().invoke(doctor)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "✓ a              Good.",
        "! b              So so.",
        "                 → Do this.",
    ]
    fake.append(Check("c", "fail", "Bad.", "Fix it."))
    result = CliRunner().invoke(doctor, ["--json"])
    assert result.exit_code == 1
    data = json.loads(result.output)
    assert data["ok"] is False
    assert data["checks"][2] == {
        "name": "c",
        "status": "fail",
        "detail": "Bad.",
        "remedy": "Fix it.",
    }


def test_a_check_is_told_before_the_next_one_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = list[str]()

    def checking() -> Iterator[Check]:
        yield Check("a", "ok", "Good.")
        told.append(capsys.readouterr().out)
        yield Check("b", "ok", "Good.")

    monkeypatch.setattr(module, "examinations", checking)
    with pytest.raises(SystemExit):
        doctor.main([], standalone_mode=False)
    assert "a " in told[0]


def test_settings_that_are_not_there_are_not_said_to_be(tmp_path: Path) -> None:
    there = tmp_path / "config.toml"
    assert "there is no" in module._settings(there).detail
    there.touch()
    assert module._settings(there).detail == f"{there}."


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PYTHON_MIN", (99, 0))
    assert check("python").status == "fail"


def test_broken_settings_do_not_stop_the_other_checks() -> None:
    paths.config_file().write_text("[engine\n")
    checks = {c.name: c for c in examine(machine=MACHINE)}
    assert checks["settings"].status == "fail"
    assert checks["state"].status == "ok"


def test_a_llama_that_cannot_be_loaded_fails() -> None:
    found = check("llama.cpp", on=replace(MACHINE, problem="libgomp.so.1: cannot open", system=""))
    assert found.status == "fail" and "libgomp" in found.detail and "pip" in found.remedy


def test_a_slow_build_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert check("llama.cpp").status == "ok"
    found = check("llama.cpp", on=replace(MACHINE, system="CPU : SSE3 = 1 | AVX2 = 0"))
    assert found.status == "warn" and "AVX2" in found.detail


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")


@pytest.mark.usefixtures("linux")
def test_a_card_is_told_with_its_memory() -> None:
    card = Device("CUDA0", "GeForce", "gpu", 11 * GB, 12 * GB)
    found = check("gpu", on=replace(MACHINE, devices=(CPU, card)))
    assert found.status == "ok" and "11.0 GB of 12.0 GB free" in found.detail


@pytest.mark.usefixtures("linux")
def test_an_idle_card_is_told_with_the_reason() -> None:
    unbuilt = check("gpu", on=replace(MACHINE, cards=("Intel", "NVIDIA")))
    assert unbuilt.status == "warn" and "built without" in unbuilt.detail
    assert "GGML_CUDA" in unbuilt.remedy
    unseen = check("gpu", on=replace(MACHINE, cards=("NVIDIA",), gpu_build=True))
    assert unseen.status == "warn" and "sees none" in unseen.detail
    assert "nvidia-smi" in unseen.remedy
    amd = check("gpu", on=replace(MACHINE, cards=("AMD",)))
    assert "GGML_VULKAN" in amd.remedy
    assert check("gpu", on=replace(MACHINE, cards=("Intel",))).status == "ok"


def test_a_mac_without_metal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert "GGML_METAL" in check("gpu").remedy
    metal = Device("MTL0", "Apple M3", "gpu", 11 * GB, 11 * GB)
    assert check("gpu", on=replace(MACHINE, devices=(CPU, metal))).status == "ok"


def test_a_missing_model_fails_with_the_command_to_get_it() -> None:
    found = check("model", Config(EngineConfig(model="qwen3-8b")))
    assert found.status == "fail" and "llmos models pull qwen3-8b" in found.remedy


def test_a_damaged_model_fails(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF")
    found = check("model", Config(EngineConfig(model=str(bad))))
    assert found.status == "fail" and "damaged" in found.detail


def test_a_model_too_large_fails(starter_weights: Path) -> None:
    small = replace(MACHINE, memory_available=600_000_000)
    found = check("memory", on=small)
    assert found.status == "fail" and "needs" in found.detail


def test_a_model_elsewhere_needs_no_file() -> None:
    assert check("model", Config(EngineConfig(model="http://host:1/v1#m"))).status == "ok"


def test_a_missing_embedder_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.catalog, "locate", lambda _: None)
    found = check("embedder")
    assert found.status == "warn" and "llmos models pull embedder" in found.remedy


@pytest.mark.parametrize(
    ("embedder", "status", "words"),
    [
        (
            "starter",
            "ok",
            "all-MiniLM-L6-v2: vectors of 384 numbers, texts of 256 tokens; it works",
        ),
        ("off", "ok", "searches go by words"),
        ("http://127.0.0.1:9/v1#m", "warn", "cannot be reached"),
        ("http://127.0.0.1:9/v1", "fail", "no server's address"),
        ("no such model", "fail", "no such model"),
    ],
)
def test_the_embedder_of_the_settings_is_named_and_tried(
    embedder: str, status: str, words: str, embedder_weights: Path, embedder_tokenizer: Path
) -> None:
    found = check("embedder", Config(memory=MemoryConfig(embedder=embedder)))
    assert (found.status, words in found.detail) == (status, True)
    assert found.remedy or status == "ok"


def test_a_gguf_embedder_is_tried_and_let_go(starter_weights: Path) -> None:
    settings = Config(memory=MemoryConfig(embedder=str(starter_weights)))
    assert "vectors of 576 numbers" in check("embedder", settings).detail


def test_a_state_directory_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = check("state", Config(state=tmp_path / "file" / "state"))
    assert found.status == "fail" and "LLMOS_HOME" in found.remedy


@pytest.mark.parametrize(
    ("free", "status"), [(1_000_000, "fail"), (GB // 2, "warn"), (GB * 2, "ok")]
)
def test_little_space_is_told(free: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert check("state").status == status


def test_a_socket_that_nobody_answers_is_told() -> None:
    assert "Not running" in check("kernel").detail
    paths.private_dir(paths.state_dir())
    paths.socket_path().touch()
    found = check("kernel")
    assert found.status == "warn" and "no kernel answers" in found.detail


def test_a_terminal_without_utf8_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Ascii())
    found = module._terminal()
    assert found.status == "warn" and "UTF-8" in found.remedy


@pytest.mark.usefixtures("linux")
def test_a_tier_that_cannot_start_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module.tiers, "available", lambda: (Bubblewrap(),))
    first, last = (c for c in examine(Config(), MACHINE) if c.name == "sandbox")
    assert first.status == "warn" and "not installed" in first.detail and first.remedy
    assert last.status == "warn" and last.remedy


def test_the_tier_and_how_many_escapes_it_denied_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def held(jail: object) -> list[Probed]:
        return [Probed("tcp4", True, "denied"), Probed("udp", True, "denied")]

    monkeypatch.setattr(module.tiers, "available", lambda: (Bubblewrap(),))
    monkeypatch.setattr(module.probes, "probe", held)
    found = check("sandbox")
    assert (found.status, found.detail) == ("ok", "bubblewrap: 2 of 2 escapes denied.")


def test_an_escape_that_was_not_denied_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leaky(jail: object) -> list[Probed]:
        return [Probed("tcp4", False, "connected"), Probed("udp", True, "denied")]

    monkeypatch.setattr(module.tiers, "available", lambda: (Bubblewrap(),))
    monkeypatch.setattr(module.probes, "probe", leaky)
    found = check("sandbox")
    assert found.status == "warn" and "1 of 2 escapes denied" in found.detail
    assert "Connect by TCP over IPv4 (connected)" in found.detail


def test_reminders_that_were_put_aside_are_told() -> None:
    assert check("reminders").status == "ok"
    aside = paths.private_dir(paths.state_dir()) / "timers.json.broken"
    aside.write_text("{")
    told = check("reminders")
    assert told.status == "warn" and aside.name in told.detail and told.remedy


def test_a_check_that_breaks_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Check:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(module, "_terminal", broken)
    found = check("terminal")
    assert found.status == "fail" and "oops" in found.detail


def test_nothing_is_left_in_the_state_directory() -> None:
    examine(config.Config(), MACHINE)
    assert [p for p in os.listdir(paths.state_dir()) if p.startswith(".")] == []


def test_the_probe_is_made_once_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def probe(**_: object) -> machine.Hardware:
        calls.append(1)
        return MACHINE

    monkeypatch.setattr(hardware, "probe", probe)
    examine()
    assert calls == [1]


async def test_a_journal_is_checked_from_end_to_end() -> None:
    assert check("journal").status == "ok"
    file = paths.state_dir() / "journal.db"
    journal = Journal(file)
    pid = (await journal.create_process()).pid
    await journal.append(pid, Message("user", "kept"), turn=1)
    await journal.close()
    assert await asyncio.to_thread(check, "journal") == Check(
        "journal", "ok", f"{file}: whole, its chain of hashes unbroken."
    )
    db = sqlite3.connect(file)
    db.execute("DROP TRIGGER contents_no_update")
    db.execute("UPDATE contents SET body = 'forged'")
    db.commit()
    db.close()
    found = await asyncio.to_thread(check, "journal")
    assert (found.status, found.detail) == ("fail", "The content of message 1 was changed.")


def test_on_a_full_disk_nobody_is_told_to_replace_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "journal.db").write_bytes(b"cannot be read now")
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = check("journal", Config(state=state))
    assert found.status == "fail" and found.remedy.startswith("Make room")
