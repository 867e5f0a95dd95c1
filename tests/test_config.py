from __future__ import annotations

import pytest

from llmos.config import EngineConfig, load
from llmos.errors import ConfigError


def test_a_setting_of_the_environment_is_taken():
    assert load(environ={"LLMOS_ENGINE_WINDOW": "4096"}).engine.window == 4096


@pytest.mark.parametrize("name", ["LLMOS_ENGINE_WINDOWS", "LLMOS_AGENT_", "LLMOS_SERVER_PROT"])
def test_a_misspelt_setting_of_the_environment_is_refused_by_its_name(name: str):
    with pytest.raises(ConfigError) as caught:
        load(environ={name: "1"})
    assert name in str(caught.value)


def test_variables_that_are_no_settings_are_left_alone():
    load(environ={"LLMOS_HOME": "/x", "LLMOS_STATE": "/y", "LLMOS_CLOCK": "z", "LLMOS_ENGINE": ""})


@pytest.mark.parametrize("penalty", [0.0, -1.0])
def test_a_repeat_penalty_that_divides_by_nothing_is_refused(penalty: float):
    with pytest.raises(ConfigError, match="agent.repeat_penalty"):
        load({"agent": {"repeat_penalty": penalty}}, environ={})


def test_a_quantised_cache_without_flash_attention_is_refused():
    with pytest.raises(ConfigError, match="needs flash attention"):
        EngineConfig(kv_type="q8_0", flash_attention="off")
    assert EngineConfig(kv_type="q8_0").kv_type == "q8_0"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LLMOS_MEMORY_DREAM_MINUTES", "abc", "memory.dream_minutes is 'abc'"),
        ("LLMOS_MEMORY_DREAM_MINUTES", "nan", "it must be a number."),
        ("LLMOS_MEMORY_DREAM_MINUTES", "-1", "must not be negative"),
        ("LLMOS_ENGINE_WINDOW", "many", "it must be a whole number."),
        ("LLMOS_ENGINE_WINDOW", "17", "engine.window must be 256 or more"),
    ],
)
def test_a_wrong_setting_of_the_environment_names_its_variable(variable, value, sentence):
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: value})
    assert sentence in str(caught.value)
    assert f"({variable} in the environment)" in str(caught.value)


@pytest.mark.parametrize("wrong", [f"x = {'9' * 5000}", f"x = {'[' * 5000}", "x =", "\udcff"])
def test_a_settings_file_that_cannot_be_read_is_one_sentence_that_names_it(tmp_path, wrong):
    file = tmp_path / "config.toml"
    file.write_bytes(wrong.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"The settings file .*config\.toml cannot be read: "):
        load(file=file, environ={})


def test_a_wrong_setting_of_the_file_names_the_file(tmp_path):
    file = tmp_path / "set{x}.toml"
    for written in ("dream_minutes = nan", "dream_minutes = -1", "dream_minutes = true"):
        file.write_text(f"[memory]\n{written}\n")
        with pytest.raises(ConfigError, match="memory.dream_minutes") as caught:
            load(file=file, environ={})
        assert f"({file})" in str(caught.value)


@pytest.mark.parametrize("wrong", ["files write", "files.write.all", "?", "a.b, rm -rf"])
def test_a_policy_names_calls(wrong: str):
    with pytest.raises(ConfigError, match=r"policy.never has .* no name of calls"):
        load(environ={"LLMOS_POLICY_NEVER": wrong})
    assert load(environ={"LLMOS_POLICY_ASK": "files.*, shell.run"}).policy.ask
