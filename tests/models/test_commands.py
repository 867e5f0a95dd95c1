"""``llmos models`` as a person uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmos import config, paths
from llmos.models import hardware
from llmos.models.commands import Bar, models
from llmos.models.download import Progress
from llmos.models.hardware import Device, Hardware

Make = Callable[..., bytes]
GB = 10**9
MACHINE = Hardware(16 * GB, 10 * GB, 8, (Device("CPU", "x", "cpu", 16 * GB, 16 * GB),))


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "probe", lambda **_: MACHINE)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, list(arguments))


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_the_list_says_what_is_here_what_fits_and_why(starter_weights: Path) -> None:
    result = run("list")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "PURPOSE", "SIZE", "HERE", "FITS", "WHY"]
    starter = next(line for line in lines if " starter " in line)
    assert starter.startswith("*") and "package" in starter and " yes " in starter
    large = next(line for line in lines if " qwen2.5-14b " in line)
    assert " no " in large and "9.5 GB" in large
    assert "llmos models pull" in lines[-1]


def test_the_list_as_json_has_the_same_rows(starter_weights: Path) -> None:
    data = run_json("list")
    rows = {row["name"]: row for row in data["models"]}
    assert rows["starter"]["used"] and rows["starter"]["here"] == "package"
    assert rows["qwen3-8b"]["here"] == ""
    assert rows["qwen2.5-14b"]["fits"] == "no"
    assert data["suggestion"] in rows


def test_own_files_are_listed_and_broken_ones_explained(make_gguf: Make) -> None:
    paths.models_dir().mkdir(parents=True)
    (paths.models_dir() / "mine.gguf").write_bytes(make_gguf())
    (paths.models_dir() / "broken.gguf").write_bytes(b"GGUF")
    rows = {row["name"]: row for row in run_json("list")["models"]}
    assert rows["mine"]["title"] == "Tiny" and rows["mine"]["fits"] == "yes"
    assert rows["broken"]["fits"] == "no" and "damaged" in rows["broken"]["reason"]


def test_use_writes_the_settings(starter_weights: Path) -> None:
    assert "next start" in run("use", "STARTER").stdout
    assert config.load(environ={}).engine.model == "starter"
    assert run_json("use", "http://host:1/v1#m") == {
        "engine": {"model": "http://host:1/v1#m"},
        "file": str(paths.config_file()),
    }


def test_use_takes_a_path_from_anywhere(
    tmp_path: Path, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.gguf").write_bytes(make_gguf())
    monkeypatch.chdir(tmp_path)
    assert run("use", "x.gguf").exit_code == 0
    assert config.load(environ={}).engine.model == str(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwen3-8b", "llmos models pull qwen3-8b"),
        ("nothing.gguf", "There is no model file nothing.gguf"),
        ("startr", "Did you mean starter?"),
    ],
)
def test_use_refuses_what_is_not_here(name: str, words: str) -> None:
    result = run("use", name)
    assert result.exit_code == 1
    assert words in result.stderr and "Traceback" not in result.output
    assert not paths.config_file().exists()


def test_use_refuses_what_cannot_chat(embedder_weights: Path, embedder_tokenizer: Path) -> None:
    assert "is for embed, not for chat" in run("use", "embedder").stderr


def test_use_refuses_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert "is damaged" in run("use", str(tmp_path / "bad.gguf")).stderr


def test_info_reads_the_file_where_it_is_here(starter_weights: Path) -> None:
    text = run("info", "starter").stdout
    assert "SmolLM2 135M Instruct" in text and "8192" in text and "yes: It fits" in text
    data = run_json("info", "starter")
    assert data["file"]["parameters"] == 134_515_008
    assert data["verdict"]["kv"] == 30 * 3 * 128 * 2 * 16_384


def test_info_reads_the_catalog_where_it_is_not(make_gguf: Make, tmp_path: Path) -> None:
    data = run_json("info", "qwen3-4b")
    assert not data["here"] and "file" not in data
    assert data["files"][0]["sha256"] == "pinned on first pull"
    assert data["files"][0]["sources"] == ["Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf"]
    (tmp_path / "x.gguf").write_bytes(make_gguf())
    assert run_json("info", str(tmp_path / "x.gguf"))["file"]["architecture"] == "llama"


def test_errors_as_json_keep_their_code() -> None:
    result = run("info", "startr", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "model_missing"


def test_pull_and_remove(hub: Any, make_gguf: Make) -> None:
    hub.files["own/repo/small.gguf"] = make_gguf()
    result = run("pull", "own/repo/small.gguf")
    assert result.exit_code == 0, result.output
    assert "small is here" in result.stdout and "llmos models use small" in result.stdout
    assert "small.gguf" in result.stderr and "100%" in result.stderr
    assert run_json("pull", "own/repo/small.gguf")["name"] == "small"
    assert run_json("remove", "small")["freed"] > 0
    assert run("remove", "small").exit_code == 1


def test_pull_takes_the_hub_of_the_settings(
    hub: Any, make_gguf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["own/repo/small.gguf"] = make_gguf()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    paths.config_file().write_text(f'[models]\nhub = "{hub.address}"\n')
    assert run("pull", "own/repo/small.gguf").exit_code == 0


def test_broken_settings_are_one_sentence() -> None:
    paths.config_file().write_text("[engine]\nwindow = 'x'\n")
    result = run("list")
    assert result.exit_code == 1 and "engine.window" in result.stderr


def test_an_interrupted_pull_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmos.models.pull.pull", interrupted)
    result = run("pull", "qwen3-4b")
    assert result.exit_code == 1 and "go on where it stopped" in result.stderr


def test_the_bar_tells_amount_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar(Progress("m", "m.gguf", "downloading", 50_000_000, 100_000_000, 1_000_000))
    bar(Progress("m", "m.gguf", "downloading", 50_000_001, 100_000_000, 1_000_000))
    bar(Progress("m", "m.gguf", "package"))
    bar.close()
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2, "one line a tenth where nobody watches"
    assert "50%" in shown[0] and "50 MB of 100 MB" in shown[0]
    assert "1.0 MB/s" in shown[0].replace("1 MB/s", "1.0 MB/s") and "0:50 left" in shown[0]
    assert "package registry" in shown[1]


def test_what_an_untrusted_file_says_is_shown_harmless(make_gguf: Make) -> None:
    paths.models_dir().mkdir(parents=True)
    evil = "Nice\x1b]0;owned\x07\u202eeman"
    raw = make_gguf({"general.name": evil, "general.license": f"MIT\n{evil}"})
    file = paths.models_dir() / "mine.gguf"
    file.write_bytes(raw)
    for arguments in (["info", "mine"], ["info", str(file)], ["list"], ["info", "mine", "--json"]):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert not set("\x1b\x07\u202e") & set(result.output)
