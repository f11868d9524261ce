"""What the OpenAPI document says holds: no 5xx, nothing undocumented, no answer of another form.

schemathesis asks every operation with what fits and what does not, of images that are there.
`scripts/gates/api.sh` asks more often.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="pip install schemathesis")

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from helpers.service import Parts, radiograph_file
from hilum.serve.web.app import create_app

EXAMPLES = int(os.environ.get("HILUM_API_EXAMPLES", "6"))  # an operation and kind of data
BASE = "http://127.0.0.1:8080"  # other hosts are not served
ENDLESS = "/api/v1/events"
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@schemathesis.serializer("multipart/related")
def _related(_: Any, value: Any) -> bytes:
    """STOW-RS bodies of any bytes; test_dicomweb.py sends right ones."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture
def held(parts: Parts) -> dict[str, list[str]]:
    """Path parameters of what is there: an analysed image, a refused one, their UIDs."""
    ids = [parts.receive(radiograph_file()).id, parts.receive(b"\x89PNG\r\n\x1a\n damaged").id]
    parts.work()
    return {"id": ids, "study": ["1.2.3"], "series": ["1.2.3.1"], "sop": ["1.2.3.4"]}


@pytest.fixture
def app(parts: Parts) -> FastAPI:
    return create_app(parts.service)


def operations(app: FastAPI) -> list[Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "127.0.0.1"})
    found = [one.ok() for one in schema.get_all_operations()]
    return [one for one in found if one.path != ENDLESS]


def problems(operation: Any, held: dict[str, list[str]], mode: Any) -> list[str]:
    """What is wrong with the answers of one operation."""
    wrong: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=EXAMPLES < 20,
        phases=[Phase.generate],
        suppress_health_check=SLOW,
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: Any) -> None:
        for name, values in held.items():
            if name in case.path_parameters and mode.is_positive:
                case.path_parameters[name] = data.draw(st.sampled_from(values))
        try:
            # 422 is right for bytes that are no image and boxes beside one; no schema says that.
            case.call_and_validate(
                base_url=BASE,
                timeout=300,  # the first catalog loads pandas, on a loaded machine
                headers={"Host": "127.0.0.1"},
                excluded_checks=[positive_data_acceptance],
            )
        except FailureGroup as failed:
            wrong.extend(f"{operation.label}: {one}" for one in failed.exceptions)

    with contextlib.suppress(Unsatisfiable):  # without parameters nothing can be wrong with them
        ask()
    return wrong


@pytest.mark.slow
def test_every_operation_answers_as_documented(app: FastAPI, held: dict[str, list[str]]) -> None:
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    wrong = [w for one in operations(app) for mode in modes for w in problems(one, held, mode)]
    assert not wrong, "\n".join(wrong[:20])
