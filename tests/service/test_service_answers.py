"""Every address of the service, asked as it wants to be."""

import io
import json

import pytest
from fake_finder import Finder, Model, picture_bytes
from PIL import Image
from starlette.testclient import TestClient

from fashionvl.service.app import app_of
from fashionvl.service.settings import Settings

RED_PICTURE = {"picture": ("x.png", picture_bytes((200, 30, 30)), "image/png")}


def search(client, **asked):
    answer = client.post("/search", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [found["product_id"] for found in answer["found"]]


def test_a_text_finds_products_with_both_scores_and_versions(client):
    answer = search(client, text="blue coat", count=3, rerank=2)
    first, _, third = answer["found"]
    assert (first["title"], first["recalled"], first["reranked"]) == ("Blue coat", 1.0, 1.5)
    assert third["reranked"] is None
    assert first["attributes"] == {"colour": "blue"}
    assert answer["versions"] == {"model": "one", "data": "d"}
    assert answer["seconds"]["embed"] == 0.001


def test_a_picture_finds_what_looks_like_it_and_a_text_beside_it_counts(client):
    alone = client.post("/search", files=RED_PICTURE, data={"count": "1"}).json()
    both = client.post("/search", files=RED_PICTURE, data={"text": "dress", "count": "1"}).json()
    assert alone["found"][0]["title"].startswith("Red")
    assert both["found"][0]["title"] == "Red dress"


def test_fields_of_a_form_mean_what_they_mean_in_json(client):
    fields = {"text": "5", "where": json.dumps({"colour": ["green"]}), "explain": "true", "rerank": "null"}
    answer = client.post("/search", files=RED_PICTURE, data=fields).json()
    assert {found["attributes"]["colour"] for found in answer["found"]} == {"green"}
    assert answer["found"][0]["why"][0]["word"] == "red"


def test_similar_products_leave_the_product_itself_out(client):
    found = ids(search(client, product="p/0"))
    assert "p/0" not in found
    assert found[0] in ("p/1", "p/2")  # red too


def test_filters_keep_what_they_allow(client):
    answer = search(client, text="red", where={"colour": ["red", "blue"], "sub_category": ["coat"]}, count=50)
    assert [found["title"] for found in answer["found"]] == ["Red coat", "Blue coat"]


def test_why_is_told_where_it_is_asked_for(client):
    assert search(client, text="red")["found"][0]["why"] == []
    why = search(client, text="red", explain=True)["found"][0]["why"][0]
    assert (why["word"], why["box"]) == ("red", [0.1, 0.2, 0.6, 0.7])


def test_pictures_come_by_the_addresses_of_the_answer_best_view_first(client):
    plain, back = search(client, text="red boots")["found"][0], search(client, text="red boots back")["found"][0]
    assert back["pictures"] == plain["pictures"][::-1]
    answer = client.get(plain["pictures"][0], params={"side": 160})
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (120, 160)
    again = client.get(plain["pictures"][0], params={"side": 160}, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_picture_is_never_made_larger(client):
    answer = client.get("/pictures/1/p%2F0", params={"side": 1280})
    assert Image.open(io.BytesIO(answer.content)).size == (90, 60)


def test_a_picture_whose_file_has_gone_or_is_broken_is_not_there(tmp_path):
    with TestClient(app_of(Finder(tmp_path), Settings())) as client:
        (tmp_path / "red.png").unlink()
        (tmp_path / "red back.jpg").write_bytes(b"hello")
        for number in (0, 1):
            answer = client.get(f"/pictures/{number}/p%2F0")
            assert (answer.status_code, answer.json()) == (404, {"error": "there is no such picture"})


def test_a_product_by_its_id(client):
    answer = client.get("/products/p%2F4")
    assert (answer.json()["title"], len(answer.json()["pictures"])) == ("Green coat", 2)
    assert client.get("/products/p/4").json() == answer.json()


def test_what_balances_load_may_ask_for_the_head_alone(client):
    assert client.head("/health/live").status_code == client.head("/health/ready").status_code == 200


def test_facets(client):
    assert client.get("/facets").json()["colour"] == {"red": 3, "green": 3, "blue": 3, "black": 3}


def test_classify_by_picture_text_or_both(client):
    by_picture = client.post("/classify", files=RED_PICTURE, data={"task": "category", "top": "1"}).json()
    assert by_picture == {"task": "category", "classes": [{"name": "red", "probability": 0.75}]}
    assert client.post("/classify", json={"text": "boots"}).json()["classes"][0]["name"] == "boots"
    assert client.post("/classify", files=RED_PICTURE, data={"text": "x"}).json()["classes"][1]["name"] == "other"


def test_caption(client):
    answer = client.post("/caption", files=RED_PICTURE, data={"mode": "mask_all"})
    assert answer.json() == {"caption": "a red thing by mask_all"}


def test_match_answers_text_by_text(client):
    answer = client.post("/match", files=RED_PICTURE, data={"texts": json.dumps(["red boots", "blue coat"])}).json()
    assert [(one["text"], one["log_odds"]) for one in answer["matches"]] == [("red boots", 3.0), ("blue coat", -3.0)]
    assert answer["matches"][0]["probability"] == pytest.approx(0.9526, abs=1e-4)


@pytest.mark.parametrize("model", [None, Model(parts=["model"])])
def test_what_no_trained_system_can_do_is_said(tmp_path, model):
    with TestClient(app_of(Finder(tmp_path, model=model), Settings())) as client:
        can = client.get("/health").json()["can"]
        assert can == ([] if model is None else ["match"])
        for answer in (
            client.post("/caption", files=RED_PICTURE),
            client.post("/classify", json={"text": "x", "task": "category"}),
        ):
            assert answer.status_code == 501
            assert "no trained system" in answer.json()["error"]
        assert search(client, text="red")["found"]


def test_health_says_what_is_served(client):
    health = client.get("/health").json()
    assert health["ready"] is True
    assert health["versions"] == {"model": "one", "data": "d"}
    assert health["can"] == ["match", "caption", "category", "sub_category"]
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200


def test_metrics_count_by_route_and_never_by_what_was_typed(tmp_path):
    with TestClient(app_of(Finder(tmp_path), Settings())) as client:
        search(client, text="red")
        client.get("/products/p%2F0")
        client.get("/nothing/like/this")
        told = client.get("/metrics").text
    assert 'fashionvl_answers_total{status="200",what="/search"} 1.0' in told
    assert 'what="/products/{product_id:path}"' in told
    assert 'status="404",what="nothing"' in told
    assert 'fashionvl_step_seconds_count{step="embed"} 1.0' in told
    assert 'fashionvl_serves{name="model",version="one"} 1.0' in told
    assert "process_resident_memory_bytes" in told
    assert "like/this" not in told


def test_the_page_and_all_that_it_needs_come_from_here(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("page.css", "page.js", "icon.svg"):
        assert f"/{name}" in page.text
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert "//cdn" not in answer.text


def test_every_answer_bears_the_headers_that_protect_a_browser(client):
    for answer in (client.get("/"), client.get("/nothing"), client.post("/search", json={"text": "a bug"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_description_has_examples_that_work(client):
    told = client.get("/openapi.json").json()
    bodies = {path: ways["post"]["requestBody"]["content"] for path, ways in told["paths"].items() if "post" in ways}
    assert set(bodies) == {"/search", "/classify", "/caption", "/match"}
    for path in ("/search", "/classify"):
        for example in bodies[path]["application/json"]["examples"].values():
            answer = client.post(path, json=example["value"])
            assert answer.status_code in (200, 404, 422), answer.text  # its products and colours are no one's here
            assert answer.status_code == 200 or "no such product" in answer.text or "facets" in answer.text
    assert "picture" in bodies["/match"]["multipart/form-data"]["schema"]["required"]
