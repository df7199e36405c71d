"""What nobody should send: each is told what is wrong, in one sentence, by a status that says whose fault it is."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from fake_finder import Finder, picture_bytes
from PIL import Image
from starlette.testclient import TestClient

from fashionvl.service import uploads
from fashionvl.service.app import app_of
from fashionvl.service.settings import Settings

PNG, JPEG = picture_bytes(), picture_bytes(kind="JPEG")
JSON = {"content-type": "application/json"}


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("evil.class", b"\xca\xfe\xba\xbe")
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is very large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(4096))) + chunk(b"IEND", b"")
    )


def damaged() -> bytes:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    stream = io.BytesIO()
    noise.save(stream, "PNG")
    return stream.getvalue()[:2000]


def check(answer, status: int) -> str:
    """One sentence, nothing of the machine in it."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert set(said) == {"error"}
    sentence = said["error"]
    assert 0 < len(sentence) < 300
    assert "\n" not in sentence
    assert not any(secret in sentence for secret in ("Traceback", ".py", "/secret", "site-packages", "0x", "Error("))
    assert answer.headers["x-content-type-options"] == "nosniff"
    return sentence


PICTURES = {
    "nothing": (b"", 422, "empty"),
    "a text": (b"hello", 415, "no picture of a known kind"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 422, "another kind of file"),
    "SVG without a script": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "no picture of a known kind"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "no picture of a known kind"),
    "a program": (b"\x7fELF" + bytes(500), 415, "no picture of a known kind"),
    "a picture cut off": (damaged(), 422, "damaged"),
    "a JPEG cut off": (JPEG[: len(JPEG) // 2], 422, "damaged"),
    "a bomb": (bomb(30_000, 30_000), 413, "too many pixels"),
    "a bomb that is a line": (bomb(2**31 - 1, 1), 413, "too many pixels"),
    "no height": (bomb(9, 0), 422, None),
    "PNG and ZIP": (PNG + zipped(), 422, "another kind of file"),
    "JPEG and JAR": (JPEG + zipped(), 422, "another kind of file"),
    "JPEG and PDF": (JPEG + b"%PDF-1.7\n", 422, "another kind of file"),
    "PNG and a page": (PNG + b"<HTML><body onload=alert(1)>", 422, "another kind of file"),
    "JPEG and a script": (JPEG[:20] + b"<ScRiPt>alert(1)</script>" + JPEG[20:], 422, "another kind of file"),
    "JPEG and PHP": (JPEG + b"<?php system('id');", 422, "another kind of file"),
    "GIF and JavaScript": (b"GIF89a/*" + bytes(50) + b"*/=1;alert(1)", 415, "no picture of a known kind"),
    "JPEG of a thousand scans": (JPEG + b"\xff\xda" * 1000, 422, "scans"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("address", ["/search", "/classify", "/caption", "/match"])
def test_pictures_that_are_none(client, name, address):
    content, status, words = PICTURES[name]
    data = {"texts": '["x"]'} if address == "/match" else {}
    answer = client.post(address, files={"picture": ("x.png", content, "image/png")}, data=data)
    sentence = check(answer, answer.status_code if words is None else status)
    assert 400 <= answer.status_code < 500
    assert words is None or words in sentence


def test_a_picture_and_a_product_are_not_both_asked_for(client):
    check(client.post("/search", files={"picture": PNG}, data={"product": "p/0"}), 422)


def test_the_name_and_the_type_that_are_said_of_a_picture_do_not_matter(client):
    for name, kind in (("../../etc/passwd", "text/html"), ("x\x00.php", "application/x-php"), ("a" * 3000, "")):
        answer = client.post("/search", files={"picture": (name, PNG, kind)})
        assert answer.status_code == 200, answer.text


def test_a_large_picture_is_made_smaller_before_it_waits(finder):
    content = picture_bytes(size=(4000, 3000), kind="JPEG")
    assert uploads.opened(content, max_megapixels=25).size == (2000, 1500)
    assert uploads.opened(picture_bytes(size=(2000, 2000)), max_megapixels=25).size == (2000, 2000)


DEEP = "[" * 100_000
BODIES = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "deep lists": (DEEP.encode(), 400),
    "deep lists that end": (("[" * 100_000 + "]" * 100_000).encode(), 400),
    "deep filters": (b'{"text": "x", "where": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400),
    "no UTF-8": (b'{"text": "\xff\xfe"}', 400),
    "UTF-16": ('{"text": "x"}'.encode("utf-16"), 400),
    "NaN": (b'{"text": "x", "budget": NaN}', 400),
    "infinity": (b'{"text": "x", "budget": -Infinity}', 400),
    "a number beyond floats": (b'{"text": "x", "budget": 1e999}', 422),
    "a number of many digits": (b'{"text": "x", "count": ' + b"9" * 6000 + b"}", 400),
    "a large number": (b'{"text": "x", "count": 99999999999999999999999}', 422),
    "very much JSON": (b'{"text": "x"}' + b" " * 1_000_000, 413),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "a word": (b'"text"', 422),
    "no question": (b"{}", 422),
    "an unknown key": (b'{"text": "x", "__class__": "os"}', 422),
    "half a letter": (b'{"text": "\\ud800"}', 422),
    "half a letter as a key": (b'{"\\ud800": 1}', 422),
    "half a letter as a filter": (b'{"text": "x", "where": {"\\udfff": ["x"]}}', 422),
    "spaces": (b'{"text": "  \\n\\t "}', 422),
    "an empty text": (b'{"text": ""}', 422),
    "a long text": (json.dumps({"text": "x" * 1001}).encode(), 422),
    "a number as text": (b'{"text": 5}', 422),
    "a list as text": (b'{"text": ["x"]}', 422),
    "a negative count": (b'{"text": "x", "count": -1}', 422),
    "no count": (b'{"text": "x", "count": 0}', 422),
    "half a count": (b'{"text": "x", "count": 1.5}', 422),
    "true as a count": (b'{"text": "x", "count": true}', 422),
    "a word as a count": (b'{"text": "x", "count": "5"}', 422),
    "1 as true": (b'{"text": "x", "explain": 1}', 422),
    "a negative budget": (b'{"text": "x", "budget": -0.5}', 422),
    "much to rerank": (b'{"text": "x", "rerank": 1000000}', 422),
    "no budget": (b'{"text": "x", "budget": 0}', 422),
    "an unknown product": (b'{"product": "p/99"}', 404),
    "SQL as a product": (b'{"product": "p/0\' OR 1=1; DROP TABLE products; --"}', 404),
    "a path as a product": (b'{"product": "../../../../etc/passwd"}', 404),
    "NUL in a product": (b'{"product": "p/0\\u0000"}', 404),
    "an unknown filter": (b'{"text": "x", "where": {"size": ["XL"]}}', 422),
    "an attribute of Python as a filter": (b'{"text": "x", "where": {"__dict__": ["x"]}}', 422),
    "an unknown value": (b'{"text": "x", "where": {"colour": ["mauve"]}}', 422),
    "SQL as a value": (b'{"text": "x", "where": {"colour": ["red\' OR \'1\'=\'1"]}}', 422),
    "no value": (b'{"text": "x", "where": {"colour": []}}', 422),
    "a value that is no list": (b'{"text": "x", "where": {"colour": "red"}}', 422),
    "a filter that is a list": (b'{"text": "x", "where": ["colour"]}', 422),
    "very many filters": (json.dumps({"text": "x", "where": {str(n): ["x"] for n in range(500)}}).encode(), 422),
    "an operator of a database": (b'{"text": {"$gt": ""}}', 422),
    "a picture's path": (b'{"picture": "/etc/passwd"}', 422),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_ask_for_what_cannot_be(client, name):
    content, status = BODIES[name]
    check(client.post("/search", content=content, headers=JSON), status)


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE products; --", "../../etc/passwd", "{{7*7}}", "<script>alert(1)</script>", "\x00\x01", "🥾" * 500,
     "\u202eevil", "a\u0300" * 400, "%s%n%x", "\r\nSet-Cookie: a=b", "‮‏‎", "ﷺ" * 100],
)  # fmt: skip
def test_a_text_may_be_anything_and_is_only_a_text(client, text):
    answer = client.post("/search", json={"text": text})
    assert answer.status_code == 200, answer.text
    assert "set-cookie" not in answer.headers


KIND = "multipart/form-data; boundary=x"
MULTIPART = {"content-type": KIND}
XML = b"<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><x>&y;</x>"


def part(head: str, content: bytes) -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"


FORMS = {
    "no boundary": (b"", {"content-type": "multipart/form-data"}, 400),
    "nothing": (b"", MULTIPART, None),
    "no form": (b"hello", MULTIPART, 400),
    "cut off": (part('name="text"', b"x")[:40], MULTIPART, None),
    "a field without a name": (part("", b"x") + b"--x--\r\n", MULTIPART, 400),
    "a picture that is no file": (part('name="picture"', PNG) + b"--x--\r\n", MULTIPART, 422),
    "a text that is a file": (part('name="text"; filename="x"', b"x") + b"--x--\r\n", MULTIPART, 422),
    "two pictures": (part('name="picture"; filename="x"', PNG) * 2 + b"--x--\r\n", MULTIPART, 400),
    "a field twice": (part('name="text"', b"x") * 2 + b"--x--\r\n", MULTIPART, 400),
    "many fields": (b"".join(part(f'name="f{n}"', b"1") for n in range(99)) + b"--x--\r\n", MULTIPART, 400),
    "a large field": (part('name="where"', b" " * 100_000) + b"--x--\r\n", MULTIPART, 400),
    "NaN": (part('name="budget"', b"NaN") + b"--x--\r\n", MULTIPART, 400),
    "a deep field": (part('name="where"', b"[" * 60_000) + b"--x--\r\n", MULTIPART, 400),
    "a negative count": (part('name="text"', b"x") + part('name="count"', b"-3") + b"--x--\r\n", MULTIPART, 422),
    "a strange charset": (part('name="text"', b"x"), {"content-type": f"{KIND}; charset=undefined"}, 415),
    "no UTF-8 in a field": (part('name="product"', b"\xff\xfe") + b"--x--\r\n", MULTIPART, 404),
    "a form of the web's kind": (b"text=x", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "XML": (XML, {"content-type": "application/xml"}, 415),
    "no type": (b'{"text": "x"}', {}, 415),
    "a type of one word": (b'{"text": "x"}', {"content-type": "json"}, 415),
    "two types": (b'{"text": "x"}', {"content-type": "application/json, text/html"}, 415),
    "another charset": (b'{"text": "x"}', {"content-type": "application/json; charset=utf-7"}, 415),
    "a pickle": (b"cos\nsystem\n(S'id'\ntR.", {"content-type": "application/octet-stream"}, 415),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_and_types_that_are_not_read(client, name):
    content, headers, status = FORMS[name]
    answer = client.post("/search", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    check(answer, status or answer.status_code)


ADDRESSES = {
    "/pictures/0/..%2f..%2f..%2fetc%2fpasswd": 404,
    "/pictures/0/%2e%2e/%2e%2e/etc/passwd": 404,
    "/pictures/0//etc/passwd": 404,
    "/pictures/0/red.png": 404,
    "/pictures/0/p%2F0%00": 404,
    "/pictures/-1/p%2F0": 422,
    "/pictures/9/p%2F0": 404,
    "/pictures/99999999999999999999/p%2F0": 422,
    "/pictures/one/p%2F0": 422,
    "/pictures/0/p%2F0?side=-5": 422,
    "/pictures/0/p%2F0?side=100000": 422,
    "/pictures/0/p%2F0?side=NaN": 422,
    "/pictures/0/": 422,
    "/pictures/0/" + "x" * 201: 422,
    "/products/": 422,
    "/products/../../etc/passwd": 404,
    "/products/%ff%fe": 404,
    "/products/p%2F0';--": 404,
    "/products/" + "x" * 5000: 422,
    "/page.js/../../settings.py": 404,
    "/..%2fsettings.py": 404,
    "/docs": 404,
    "/search/": 404,
    "/.git/config": 404,
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_lead_nowhere(client, address):
    check(client.get(address), ADDRESSES[address])


@pytest.mark.parametrize(
    ("way", "address"),
    [
        ("GET", "/search"),
        ("DELETE", "/products/p"),
        ("PUT", "/"),
        ("POST", "/facets"),
        ("TRACE", "/search"),
        ("NOSUCH", "/search"),
        ("PATCH", "/health"),
    ],
)
def test_ways_to_ask_that_are_not_answered(client, way, address):
    check(client.request(way, address), 405)


def test_a_body_that_is_too_long_is_not_read(tmp_path):
    with TestClient(app_of(Finder(tmp_path), Settings(max_bytes=1000))) as client:
        assert "at most 1,000 bytes" in check(client.post("/search", content=b" " * 1001, headers=JSON), 413)
        said = b'{"text": "x"}' + b" " * 987
        assert client.post("/search", content=said, headers=JSON).status_code == 200
        endless = (b" " * 100 for _ in range(10_000))  # says no length
        check(client.post("/search", content=endless, headers=JSON), 413)


def test_a_service_with_a_key_wants_it(tmp_path):
    with TestClient(app_of(Finder(tmp_path), Settings(key="sesame"))) as client:
        bearers = ("", "Bearer", "Bearer sésame", "Bearer sesamee", "bearer sesame", "Basic c2VzYW1l", "sesame")
        wrong = [{"authorization": said.encode()} for said in bearers] + [{}, {"x-api-key": "sesame"}]
        for headers in wrong:
            for address in ("/facets", "/metrics", "/products/p%2F0", "/pictures/0/p%2F0"):
                check(client.get(address, headers=headers), 401)
            refused = client.post("/search", json={"text": "red"}, headers=headers)
            check(refused, 401)
            assert refused.headers["www-authenticate"] == "Bearer"
        right = {"authorization": "Bearer sesame"}
        assert client.get("/facets", headers=right).status_code == 200
        assert client.post("/search", json={"text": "red"}, headers=right).status_code == 200
        assert client.get("/").status_code == client.get("/health").status_code == 200
        told = client.get("/openapi.json").json()
        assert told["paths"]["/search"]["post"]["security"] == [{"HTTPBearer": []}]


def test_a_service_is_only_called_by_its_names(tmp_path):
    with TestClient(app_of(Finder(tmp_path), Settings(hosts=("localhost", "[::1]")))) as client:
        for host in ("evil.example", "localhost.evil.example", "localhost@evil.example", "", "127.0.0.1:8000"):
            check(client.get("/facets", headers={"host": host}), 421)
        for host in ("localhost", "LocalHost:8000", "[::1]:8000", "[::1]"):
            assert client.get("/facets", headers={"host": host}).status_code == 200


def test_headers_that_are_too_long_are_refused(client):
    check(client.get("/facets", headers={"x": "y" * 40_000}), 431)
    check(client.get("/facets", headers={f"x{number}": "y" * 100 for number in range(400)}), 431)


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-host": "evil.example"}, {"x-original-url": "/metrics"}, {"x-http-method-override": "DELETE"},
     {"range": "bytes=0-18446744073709551615"}, {"accept-encoding": "x" * 4000}, {"if-none-match": '"' * 2000}],
)  # fmt: skip
def test_headers_change_nothing(client, headers):
    answer = client.post("/search", json={"text": "red", "count": 1}, headers=headers)
    assert (answer.status_code, len(answer.json()["found"])) == (200, 1)
    assert "evil" not in str(answer.headers)


def test_what_goes_wrong_inside_stays_inside(client, caplog):
    assert "log has it as" in check(client.post("/search", json={"text": "a bug"}), 500)
    assert "/secret/path.py" in caplog.text
    check(client.post("/search", json={"text": "a problem"}), 422)
    assert "/secret/build/index" in caplog.text
    assert client.post("/search", json={"text": "red"}).status_code == 200
