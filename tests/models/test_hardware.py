"""What fits where, on machines nobody has at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmos.config import EngineConfig
from llmos.errors import ModelTooLarge
from llmos.models import catalog, hardware
from llmos.models.gguf import GgufHeader, read_header
from llmos.models.hardware import Device, Hardware, fit, needs_of, pick_devices, suggest

GB = 10**9
LAPTOP = Hardware(16 * GB, 12 * GB, 8, (Device("CPU", "x", "cpu", 16 * GB, 16 * GB),))
SMALL = replace(LAPTOP, memory_total=4 * GB, memory_available=2 * GB, cores=2)
CUDA = Device("CUDA0", "GeForce", "gpu", 11 * GB, 12 * GB)
VULKAN = Device("Vulkan0", "Radeon", "gpu", 7 * GB, 8 * GB)
IGPU = Device("Vulkan1", "Iris", "igpu", 8 * GB, 16 * GB)
METAL = Device("MTL0", "Apple M3", "gpu", 11 * GB, 11 * GB)


def on(machine: Hardware, *devices: Device) -> Hardware:
    return replace(machine, devices=(*machine.devices, *devices), gpu_build=True)


@pytest.fixture
def starter(starter_weights: Path) -> GgufHeader:
    return read_header(starter_weights)


@pytest.fixture
def big() -> catalog.Entry:
    entry = catalog.entry("qwen3-8b")
    assert entry is not None
    return entry


def test_a_kv_cell_costs_heads_times_lengths_times_layers(starter: GgufHeader) -> None:
    assert needs_of(starter).kv_elements == 30 * 3 * (64 + 64)
    assert fit(starter, LAPTOP, 1024).kv == 30 * 3 * 128 * 2 * 1024
    assert fit(starter, LAPTOP, 1024, "q8_0").kv == 30 * 3 * 128 * 1024 * 34 // 32


def test_catalog_and_file_agree_on_the_cost_of_a_window(starter: GgufHeader) -> None:
    entry = catalog.entry("starter")
    assert entry is not None
    assert fit(entry, LAPTOP, 4096).kv == fit(starter, LAPTOP, 4096).kv


def test_recurrent_state_is_counted_for_every_resident_sequence(starter: GgufHeader) -> None:
    mamba = replace(starter, kv_heads=(0,) * 30, ssm_state=1_000_000)
    assert fit(mamba, LAPTOP, 8192).kv == 8 * 4_000_000


def test_only_the_experts_in_use_cost_time(starter: GgufHeader) -> None:
    half = replace(starter, experts=8, experts_used=2, tensor_bytes=10 * GB, expert_bytes=8 * GB)
    needs = needs_of(half)
    assert needs.weights == 10 * GB
    assert needs.active == 4 * GB


def test_a_small_model_fits_a_laptop(starter: GgufHeader) -> None:
    verdict = fit(starter, LAPTOP, 8192)
    assert verdict.fits == "yes"
    assert verdict.device == "CPU" and verdict.gpu_layers == 0
    assert verdict.decode > 50


def test_a_large_model_on_the_cpu_is_called_slow(big: catalog.Entry) -> None:
    verdict = fit(big, replace(LAPTOP, cores=4), 8192)
    assert verdict.fits == "slow"
    assert "slow" in verdict.reason


def test_what_exceeds_memory_does_not_fit(big: catalog.Entry) -> None:
    verdict = fit(big, SMALL, 8192)
    assert verdict.fits == "no"
    assert "needs" in verdict.reason and "1.5 GB" in verdict.reason


def test_a_model_goes_onto_a_card_with_room(big: catalog.Entry) -> None:
    verdict = fit(big, on(LAPTOP, CUDA), 8192)
    assert verdict.fits == "yes"
    assert verdict.device == "CUDA0"
    assert verdict.gpu_layers == 37
    assert verdict.decode == 0


def test_a_card_carries_a_model_that_memory_would_not(big: catalog.Entry) -> None:
    assert fit(big, on(SMALL, CUDA), 8192).fits == "yes"


def test_a_small_card_takes_some_layers(big: catalog.Entry) -> None:
    verdict = fit(big, on(LAPTOP, replace(CUDA, free=4 * GB)), 8192)
    assert 0 < verdict.gpu_layers < 37
    assert verdict.device == "CUDA0"
    assert "of 37 layers" in verdict.reason
    assert verdict.decode > fit(big, LAPTOP, 8192).decode


def test_a_card_without_room_is_left_alone(big: catalog.Entry) -> None:
    verdict = fit(big, on(LAPTOP, replace(CUDA, free=200_000_000)), 8192)
    assert verdict.gpu_layers == 0 and verdict.device == "CPU"


def test_a_bound_on_gpu_layers_is_kept(big: catalog.Entry) -> None:
    assert fit(big, on(LAPTOP, CUDA), 8192, gpu_layers=0).device == "CPU"
    assert fit(big, on(LAPTOP, CUDA), 8192, gpu_layers=5).gpu_layers == 5


def test_two_cards_are_used_together(big: catalog.Entry) -> None:
    cards = (replace(CUDA, free=6 * GB), replace(CUDA, name="CUDA1", free=6 * GB))
    verdict = fit(big, on(LAPTOP, *cards), 8192)
    assert verdict.device == "CUDA0+CUDA1" and verdict.gpu_layers == 37


def test_integrated_graphics_serve_only_where_there_is_no_card() -> None:
    assert pick_devices((LAPTOP.devices[0], IGPU, VULKAN)) == (VULKAN,)
    assert pick_devices((LAPTOP.devices[0], IGPU)) == (IGPU,)
    assert pick_devices(LAPTOP.devices) == ()
    accelerator = Device("BLAS", "x", "accel")
    assert pick_devices((accelerator,)) == ()


def test_shared_memory_counts_once(big: catalog.Entry) -> None:
    assert METAL.shares_memory and IGPU.shares_memory and not CUDA.shares_memory
    assert fit(big, on(LAPTOP, METAL), 8192).device == "MTL0"
    tight = replace(LAPTOP, memory_available=5 * GB)
    assert fit(big, on(tight, METAL), 8192).fits == "no"


def test_what_is_too_large_is_refused_with_need_and_supply(starter: GgufHeader) -> None:
    huge = replace(starter, tensor_bytes=40 * GB)
    with pytest.raises(ModelTooLarge, match=r"40.0 GB.*12.0 GB of 16.0 GB.*smaller model"):
        hardware.require_fit(huge, LAPTOP, 8192)
    busy = replace(LAPTOP, memory_available=GB)
    with pytest.raises(ModelTooLarge, match="Close other programs"):
        hardware.require_fit(replace(starter, tensor_bytes=4 * GB), busy, 8192)
    with pytest.raises(ModelTooLarge, match="engine.window"):
        hardware.require_fit(starter, LAPTOP, 1_000_000)
    assert hardware.require_fit(starter, LAPTOP, 8192).fits == "yes"


def test_a_better_model_is_suggested_where_it_runs_well() -> None:
    suggestion = suggest(on(LAPTOP, CUDA))
    assert suggestion is not None
    assert suggestion.verdict.fits == "yes"
    assert "CUDA0" in suggestion.reason and "llmos models pull" in suggestion.reason
    on_cpu = suggest(LAPTOP)
    assert on_cpu is not None
    assert on_cpu.entry.rank < suggestion.entry.rank
    assert "tokens/s" in on_cpu.reason


def test_nothing_is_suggested_where_nothing_better_fits() -> None:
    tiny = replace(LAPTOP, memory_available=800_000_000, cores=1)
    assert suggest(tiny) is None


def test_the_best_that_fits_is_left_alone() -> None:
    best = suggest(on(LAPTOP, CUDA))
    assert best is not None
    assert suggest(on(LAPTOP, CUDA), best.entry.name) is None


def test_somebodys_own_choice_is_left_alone() -> None:
    assert suggest(on(LAPTOP, CUDA), "/models/mine.gguf") is None
    assert suggest(on(LAPTOP, CUDA), "http://host/v1#m") is None


def test_amounts_are_for_people() -> None:
    assert hardware.amount(1_234_567_890) == "1.2 GB"
    assert hardware.amount(98_362_432) == "98 MB"
    assert hardware.amount(2_317) == "2 kB"
    assert hardware.amount(12) == "12 bytes"


def test_a_plan_is_as_asked_where_that_fits(starter: GgufHeader) -> None:
    made = hardware.plan(starter, LAPTOP, EngineConfig())
    assert (made.engine.window, made.engine.cells, made.note) == (8192, 16_384, "")
    assert made.engine.gpu_layers == -1 and made.verdict.fits == "yes"
    made = hardware.plan(starter, LAPTOP, EngineConfig(window=512, cells=600))
    assert (made.engine.window, made.engine.cells) == (512, 600)


def test_a_window_beyond_the_trained_one_is_cut_and_told_of(starter: GgufHeader) -> None:
    made = hardware.plan(starter, LAPTOP, EngineConfig(window=30_000))
    assert made.engine.window == 8192
    assert "8192 tokens" in made.note and "30000" in made.note


def test_a_smaller_window_is_planned_where_the_largest_does_not_fit(starter: GgufHeader) -> None:
    heavy = replace(starter, kv_heads=(60,) * 30)  # 0.9 MB a cell
    made = hardware.plan(heavy, SMALL, EngineConfig())
    assert made.engine.window == made.engine.cells < 8192
    assert made.verdict.fits != "no" and "do not fit" in made.note
    asked = hardware.plan(heavy, SMALL, EngineConfig(window=8192, cells=8192))
    assert asked.verdict.fits == "no" and asked.engine.window == 8192


def test_the_cells_follow_the_settings() -> None:
    assert hardware.sizes(EngineConfig(), 8192) == (8192, 16_384)
    assert hardware.sizes(EngineConfig(), 2048) == (2048, 4096)
    assert hardware.sizes(EngineConfig(), 0) == (8192, 16_384)
    assert hardware.sizes(EngineConfig(window=512), 8192) == (512, 1024)
    assert hardware.sizes(EngineConfig(cells=600), 8192) == (600, 600)


def test_a_model_that_fits_a_card_in_part_is_loaded_in_part(big: catalog.Entry) -> None:
    tight = on(LAPTOP, replace(CUDA, free=4 * GB))
    made = hardware.plan(big, tight, EngineConfig())
    assert made.engine.gpu_layers == made.verdict.gpu_layers
    assert 0 < made.engine.gpu_layers < 37
    assert hardware.plan(big, tight, EngineConfig(gpu_layers=3)).engine.gpu_layers == 3
    assert hardware.plan(big, on(LAPTOP, CUDA), EngineConfig()).engine.gpu_layers == -1
    assert hardware.plan(big, LAPTOP, EngineConfig()).engine.gpu_layers == -1


def test_the_swap_store_takes_a_quarter_of_what_the_model_leaves(starter: GgufHeader) -> None:
    roomy = hardware.plan(starter, LAPTOP, EngineConfig())
    assert roomy.engine.swap_bytes == EngineConfig().swap_bytes
    tight = hardware.plan(starter, replace(LAPTOP, memory_available=2 * GB), EngineConfig())
    left = 2 * GB - (512 << 20) - tight.verdict.total
    assert tight.engine.swap_bytes == left // 4
    assert hardware.plan(starter, LAPTOP, EngineConfig(swap_bytes=0)).engine.swap_bytes == 0
