"""What the OpenAPI description says is tried at random: what it forbids is refused, and nothing falls over."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from local import served
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fashionvl.service.settings import Settings

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("FASHIONVL_EXAMPLES", "100"))  # of each address

ASKED = ("/search", "/classify", "/caption", "/match")
GIVEN = ("/products/{product_id}", "/pictures/{number}/{product_id}", "/facets", "/health", "/health/live",
         "/health/ready", "/metrics")  # fmt: skip
CHECKED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    with served(tmp_path_factory.mktemp("catalogue"), Settings(seconds=300)) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def tried(operation, mode: GenerationMode) -> None:
    """Every check of schemathesis but one: no description says which filters a catalogue has, or that a question asks
    for something, so that what is allowed may get 422."""

    @CHECKED
    @given(case=operation.as_strategy(mode))
    def keeps_its_word(case):
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=300)
        if answer.status_code >= 400 and answer.status_code != 405:
            assert set(answer.json()) == {"error"}

    keeps_its_word()


def test_the_description_has_every_address(described):
    assert {operation.ok().path for operation in described.get_all_operations()} == {*ASKED, *GIVEN}


@pytest.mark.parametrize("path", [*ASKED, *GIVEN])
def test_what_is_allowed_is_answered_as_described(described, path):
    tried(described[path]["post" if path in ASKED else "get"], GenerationMode.POSITIVE)


@pytest.mark.parametrize("path", [*ASKED, *GIVEN[:2]])
def test_what_is_forbidden_is_refused_as_described(described, path):
    tried(described[path]["post" if path in ASKED else "get"], GenerationMode.NEGATIVE)
