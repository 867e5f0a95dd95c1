"""The published description is true: requests made from it meet no surprise.

Bounded and derandomized, so that a failure comes again. In half of the requests a generated model
name or process number is replaced by one that exists, since otherwise nearly all end in a 404.
"""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from llmos.server import create_app

DOCUMENT = create_app(SimpleNamespace()).openapi()
#: Requests that fit the description, and where one can be wrong, requests that do not.
OPERATIONS = [
    (mode, method, path)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or "400" in operation["responses"]
]
BEARER = {"Authorization": "Bearer secret"}
EXAMPLES = 30

#: What the schema cannot say makes some requests that fit it wrong (a tool message that answers no
#: call); that these get a documented 400 is checked by ``status_code_conformance``.
SKIPPED = ["positive_data_acceptance"]


@pytest.fixture(scope="module")
def address(new_kernel, serving, tmp_path_factory):
    """A server with some processes on TCP, on a loop of its own: the fuzzer's client blocks."""
    ready, found = threading.Event(), {}

    async def run():
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        kernel = new_kernel()
        for _ in range(16):
            await kernel.send((await kernel.create()).pid, "Hi.")
        async with serving(kernel, tmp_path_factory.mktemp("s") / "k.sock", None) as served:
            found["url"] = f"http://127.0.0.1:{served.port}"
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    yield found["url"]
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join(30)


@pytest.fixture(scope="module")
def schema(address):
    """The document as the fuzzer reads it, which takes longer than many requests."""
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig())
    schema.config.update(base_url=address)
    return schema


def make_real(case, number):
    """Let every second request name things that exist."""
    if number % 2:
        return
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "numbers" if case.path == "/v1/embeddings" else "starter"
    if "pid" in case.path_parameters and isinstance(case.path_parameters["pid"], int):
        first = 1 if case.method == "DELETE" else 9  # so that the others meet living ones
        case.path_parameters["pid"] = first + case.path_parameters["pid"] % 8


@pytest.mark.parametrize(("mode", "method", "path"), OPERATIONS)
def test_an_operation_behaves_as_it_is_described(schema, mode, method, path):
    operation = schema[path][method.upper()]
    skipped = CHECKS.get_by_names(SKIPPED)
    count = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def probe(case):
        nonlocal count
        count += 1
        if mode is GenerationMode.POSITIVE:
            make_real(case, count)
        case.call_and_validate(headers=BEARER, excluded_checks=skipped)

    probe()


def test_no_route_promises_what_it_does_not_do():
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            assert "422" not in operation["responses"]
            assert {"401", "403", "500"} <= set(operation["responses"])
