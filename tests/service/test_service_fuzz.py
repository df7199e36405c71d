"""What the OpenAPI description says is tried at random: what it forbids is refused, and nothing falls over."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from local import served
from schemathesis.specs.openapi.checks import positive_data_acceptance

from fashionvl.service.settings import Settings

pytestmark = pytest.mark.slow
EXAMPLES = 100  # of each address

schema = schemathesis.pytest.from_fixture("described")


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    with served(tmp_path_factory.mktemp("catalogue"), Settings(seconds=300)) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


# No description says which filters a catalogue has, or that a question asks for something: what is allowed may get 422.
@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_address_keeps_what_its_description_says(case):
    answer = case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=300)
    if answer.status_code >= 400 and answer.status_code != 405:
        assert set(answer.json()) == {"error"}
