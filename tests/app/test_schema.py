"""The API against its own description: whatever fits the schema or does not is answered as the schema says."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.app import workers
from tests.app.conftest import quick_start

from voigt.app import create_app

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [entry.ok() for entry in schemathesis.openapi.from_dict(create_app().openapi()).get_all_operations()]


def check(address: str, label: str, examples: int) -> None:
    (operation,) = (entry for entry in OPERATIONS if entry.label == label)
    modes = [GenerationMode.POSITIVE]
    if operation.body or list(operation.iter_parameters()):
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Case) -> None:
            response = case.call(base_url=address)
            case.validate_response(response, checks=CHECKS)

        one()


@pytest.fixture(autouse=True)
def jobs_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_start(monkeypatch)
    monkeypatch.setattr("voigt.app.jobs.work", workers.job)


@pytest.mark.parametrize("label", [entry.label for entry in OPERATIONS])
def test_a_few_requests_are_answered_as_described(address: str, label: str) -> None:
    check(address, label, 6)


@pytest.mark.slow
@pytest.mark.parametrize("label", [entry.label for entry in OPERATIONS])
def test_many_requests_are_answered_as_described(address: str, label: str) -> None:
    check(address, label, 300)
