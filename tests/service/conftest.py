import pytest
from fake_finder import Finder
from starlette.testclient import TestClient

from fashionvl.service.app import app_of
from fashionvl.service.settings import Settings


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return Finder(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def client(finder):
    with TestClient(app_of(finder, Settings()), raise_server_exceptions=False) as client:
        yield client
