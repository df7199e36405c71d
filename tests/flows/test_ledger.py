"""Which files go to MLflow."""

from flows import ledger


def test_every_file_that_goes_and_shows_the_users_pictures_is_known():
    """A page is written by `write_page`; one that goes to MLflow holds pictures unless this says why not."""
    pages = {name for name in ledger.KEPT if name.endswith((".html", ".png", ".jpg"))}
    assert pages - set(ledger.PAGES) == {"confusion.png"}  # numbers and names alone (stages/confusion.py)
