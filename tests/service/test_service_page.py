"""The search page in a real browser, by real clicks and keys."""

from collections.abc import Iterator

import pytest
from browser import CHROMIUM, Page, browser
from fake_finder import picture_bytes
from local import served

from fashionvl.service.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page cannot be looked at"),
]


@pytest.fixture
def page(tmp_path) -> Iterator[tuple[Page, str]]:
    (tmp_path / "catalogue").mkdir()
    with served(tmp_path / "catalogue", Settings(seconds=300)) as address, browser(tmp_path / "browser") as page:
        page.screen(1280, 900)
        page.open(address)
        page.until("document.querySelectorAll('#facets input').length === 7")  # one category for all is no filter
        yield page, address
        assert page.complaints == []
        strange = [one for one in page.addresses if not one.startswith((address, f"blob:{address}", "about:", "data:"))]
        assert strange == []


def titles(page: Page) -> list[str]:
    page.until("!document.querySelector('main.busy') && document.querySelector('#status').textContent")
    return page.js("[...document.querySelectorAll('.card .title')].map(one => one.textContent)")


def test_by_mouse_text_filters_why_product_and_what_is_like_it(page):
    page, _ = page
    page.click("#text")
    page.type("blue coat")
    page.click("#ask button.main")
    page.until("document.querySelectorAll('.card').length === 12")
    assert titles(page)[0] == "Blue coat"
    assert page.js("document.querySelector('#status').textContent").startswith("12 products in")

    page.click("#facets input[value=red]")
    page.until("document.querySelectorAll('.card').length === 3")
    assert {title.split()[0] for title in titles(page)} == {"Red"}
    assert "where.colour=red" in page.js("location.search")
    page.click("#clear")
    page.until("document.querySelectorAll('.card').length === 12")

    page.click("#why")
    page.until("document.querySelectorAll('.card:first-child .box').length === 2")
    page.until("document.querySelector('.card:first-child img').complete")
    box, picture = (
        page.js(
            f"JSON.parse(JSON.stringify(document.querySelector('.card:first-child {one}').getBoundingClientRect()))"
        )
        for one in (".box", "img")
    )
    assert abs(box["left"] - picture["left"] - 0.1 * picture["width"]) < 1.5
    assert abs(box["height"] - 0.5 * picture["height"]) < 1.5
    assert picture["height"] > 100

    page.click(".card:first-child .open")
    page.until("document.querySelector('#product').open")
    assert page.js("document.querySelector('#product-title').textContent") == "Blue coat"
    assert page.js("document.querySelectorAll('#views img').length") == 2
    page.click("#similar")
    page.until("!document.querySelector('#product').open && document.querySelectorAll('.card').length === 11")
    assert "Blue coat" not in titles(page)
    assert page.js("document.querySelector('#seed-title').textContent") == "Blue coat"
    page.js("history.back()")
    page.until("document.querySelector('#seed').hidden && document.querySelectorAll('.card').length === 12")
    assert page.js("document.querySelector('#text').value") == "blue coat"


def test_by_keyboard_alone(page):
    page, _ = page
    page.press("/")
    page.type("green dress")
    page.press("Enter")
    page.until("document.querySelectorAll('.card').length === 12")
    assert titles(page)[0] == "Green dress"
    for _ in range(60):
        page.press("Tab")
        if page.js("document.activeElement.matches('.card .open')"):
            break
    assert page.js("document.activeElement.querySelector('.title').textContent") == "Green dress"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.press("Enter")
    page.until("document.querySelector('#product').open")
    page.press("Escape")
    page.until("!document.querySelector('#product').open")
    assert page.js("document.activeElement.matches('.card .open')")
    page.press("Tab")
    assert page.js("document.activeElement.getAttribute('aria-label')") == "Similar to Green dress"
    page.press("Enter")
    page.until("!document.querySelector('#seed').hidden && document.querySelectorAll('.card').length === 11")


def test_a_picture_is_named_described_and_searched_by(page, tmp_path):
    page, _ = page
    file = tmp_path / "mine.png"
    file.write_bytes(picture_bytes((40, 60, 200)))
    page.choose("#picture", file)
    page.until("document.querySelector('#caption').textContent === 'a blue thing by causal'")
    page.until("document.querySelectorAll('#classes .class').length === 4")
    page.until("document.querySelectorAll('.card').length === 12")
    assert titles(page)[0].startswith("Blue")
    page.click("#text")
    page.type("dress")
    page.press("Enter")
    page.until("document.querySelector('.card .title').textContent === 'Blue dress'")
    page.click("#forget")
    page.until(
        "document.querySelector('#given').hidden && document.querySelector('.card .title').textContent !== 'Blue dress'"
    )
    file.write_bytes(b"no picture")
    page.choose("#picture", file)
    page.until("document.querySelector('#problem').textContent.includes('no picture that a browser can read')")


def test_what_the_service_refuses_is_said_on_the_page(page):
    page, address = page
    page.open(f"{address}/?q=red&where.size=XL")
    page.until("document.querySelector('#problem').textContent.includes('no product has')")
    page.complaints.clear()  # the browser notes every 4xx
    page.open(f"{address}/?q=%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert titles(page)
    assert page.js("document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_sticks_out_and_all_is_large_enough_for_a_finger(page, dark):
    page, address = page
    page.screen(360, 740, dark=dark, phone=True)
    page.open(f"{address}/?q=red+boots&why=1")
    titles(page)
    page.until("document.querySelectorAll('.box').length > 3")
    assert page.js("document.documentElement.scrollWidth") <= 360
    assert page.js("document.querySelector('#filters').open") is False
    page.click("#filters > summary")
    page.until("document.querySelector('#filters').open")
    assert page.js("document.documentElement.scrollWidth") <= 360
    small = "[...document.querySelectorAll('#ask button, #ask .button, .like, #filters > summary')]"
    assert page.js(f"Math.min(...{small}.map(one => one.getBoundingClientRect().height))") >= 40
    colours = page.js("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    ink, paper = (sum(int(part) for part in colour[4:-1].split(",")) for colour in colours)
    assert (ink > paper) is dark
    assert abs(ink - paper) > 450


def test_a_key_is_asked_for_once_and_then_brought(tmp_path):
    (tmp_path / "catalogue").mkdir()
    with (
        served(tmp_path / "catalogue", Settings(key="sesame", seconds=300)) as address,
        browser(tmp_path / "browser") as page,
    ):
        page.screen(1000, 800)
        page.open(f"{address}/?q=red+boots")
        page.until("document.querySelector('#lock').open")
        page.type("wrong")
        page.press("Enter")
        page.until("document.querySelector('#lock').open && !document.querySelector('#key').value")
        page.type("sesame")
        page.press("Enter")
        assert titles(page)[0] == "Red boots"
        page.until("document.querySelector('.card img').naturalWidth > 0")
