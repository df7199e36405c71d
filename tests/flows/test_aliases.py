"""Promotion and rollback move aliases; what a kill left half done is finished by the next call."""

import pytest

from flows import registry, tracking
from flows.made import Made
from flows.registry import CHALLENGER, CHAMPION, PREVIOUS, SWAP, RegistryError, Version


class Killed(BaseException):
    """Stands for a kill -9: nothing after it is done."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow's client over a store of its own, the locks beside it."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        (root / ".work").mkdir()
        with registry._registry() as (client, experiment):
            pass
        yield client, experiment


@pytest.fixture
def three(store, request):
    """Three versions of a system of its own, the first of which is champion -> their numbers' maker"""
    client, experiment = store
    system = request.node.name.replace("[", "-").replace("]", "")
    for _ in range(3):
        model = client.create_logged_model(experiment, name="x", tags={})
        registry._create(client, system, model, "---\na card", Made("", {}, {}))
    registry.promote(system, version(system, 1))
    return system


def version(system: str, number: int) -> Version:
    return registry.version_of(system, number)


def aliases(store, system: str) -> dict[str, int]:
    found = store[0].get_registered_model(registry.name_of(system))
    assert SWAP not in found.tags
    return {alias: int(number) for alias, number in found.aliases.items()}


def killed_at(step: int, monkeypatch) -> None:
    """Die at the call of this number that changes an alias or a tag; 0 is the first."""
    from mlflow import MlflowClient

    calls = iter(range(100))

    def dying(change):
        def call(*words, **named):
            if next(calls) == step:
                raise Killed
            return change(*words, **named)

        return call

    for name in dir(MlflowClient):
        if name.startswith(("set_", "delete_")) and name.endswith(("_alias", "_tag")):
            monkeypatch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))


def test_the_first_promotion_leaves_no_previous(store, three):
    assert aliases(store, three) == {CHAMPION: 1}
    assert version(three, 1).settled
    assert registry.champion(three) == version(three, 1)
    assert registry.champion("unknown") is None


def test_a_promotion_moves_the_old_champion_and_ends_the_challenge(store, three):
    store[0].set_registered_model_alias(registry.name_of(three), CHALLENGER, "2")
    assert not version(three, 2).settled
    registry.promote(three, version(three, 2))
    assert aliases(store, three) == {CHAMPION: 2, PREVIOUS: 1}
    registry.promote(three, version(three, 2))
    assert aliases(store, three) == {CHAMPION: 2, PREVIOUS: 1}
    registry.promote(three, version(three, 3))
    assert aliases(store, three) == {CHAMPION: 3, PREVIOUS: 2}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("step", range(4))
def test_a_promotion_killed_at_any_step_is_finished_by_the_next(store, three, monkeypatch, step):
    store[0].set_registered_model_alias(registry.name_of(three), CHALLENGER, "2")
    with monkeypatch.context() as patch:
        killed_at(step, patch)
        with pytest.raises(Killed):
            registry.promote(three, version(three, 2))
    assert registry.champion(three) is not None
    registry.promote(three, version(three, 2))
    assert aliases(store, three) == {CHAMPION: 2, PREVIOUS: 1}
    assert version(three, 2).settled


def test_a_rollback_swaps_and_swaps_back(store, three):
    registry.promote(three, version(three, 2))
    assert registry.former(three).version == 1
    assert registry.rollback(three).version == 1
    assert aliases(store, three) == {CHAMPION: 1, PREVIOUS: 2}
    assert version(three, 2).settled  # or the next run would promote it again
    assert registry.rollback(three).version == 2
    assert aliases(store, three) == {CHAMPION: 2, PREVIOUS: 1}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("finish", ["rollback", "promote"])
@pytest.mark.parametrize("step", range(4))
def test_a_rollback_killed_at_any_step_loses_no_version(store, three, monkeypatch, step, finish):
    registry.promote(three, version(three, 2))
    with monkeypatch.context() as patch:
        killed_at(step, patch)
        with pytest.raises(Killed):
            registry.rollback(three)
    if finish == "rollback":
        assert registry.former(three).version == 1
        assert registry.rollback(three).version == 1
        assert aliases(store, three) == {CHAMPION: 1, PREVIOUS: 2}
    else:
        registry.promote(three, version(three, 3))
        assert aliases(store, three) == {CHAMPION: 3, PREVIOUS: 1 if step else 2}


def test_what_is_not_there_is_a_sentence(store, three):
    for ask in (registry.rollback, registry.former):
        with pytest.raises(RegistryError, match="no champion before the present one to go back to"):
            ask(three)
    with pytest.raises(RegistryError, match="no champion before"):
        registry.rollback("unknown")
    with pytest.raises(RegistryError, match="has no version 7; there are: 1, 2, 3"):
        version(three, 7)
    with pytest.raises(RegistryError, match="has no version 1; there are: none yet"):
        version("unknown", 1)


def test_a_store_that_is_away_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used"):
        registry.champion("kaleido")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:s3cret@127.0.0.1:9")
    with pytest.raises(RegistryError) as told:
        registry.champion("kaleido")
    assert "s3cret" not in str(told.value)
    assert "at http://127.0.0.1:9 cannot" in str(told.value)


def test_a_driver_that_is_missing_is_a_sentence(tmp_path, monkeypatch):
    def connect():
        raise ModuleNotFoundError("No module named 'a_driver'")

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(tracking, "connect", connect)
    with pytest.raises(RegistryError, match="No module named 'a_driver'"):
        registry.champion("kaleido")
