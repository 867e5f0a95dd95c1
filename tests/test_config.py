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
