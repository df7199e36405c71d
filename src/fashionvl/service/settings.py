"""What a service allows, and how long it waits."""

from dataclasses import dataclass

KEY = "FASHIONVL_API_KEY"  # the environment's name of the key


@dataclass(frozen=True)
class Settings:
    """
    key              what every request but those for the page and /health must bring (`Authorization: Bearer ...`);
                     None asks for nothing
    hosts            names that the service may be called by (`Host`); empty for any
    max_bytes        of a request's body
    max_megapixels   of a picture that is sent; a larger one is taken for a decompression bomb
    at_once          requests for the model that are taken in at a time, waiting or not; more are told to come again
    batch            requests that the model answers together at most
    seconds          that a picture may take to be opened, and that the model's answer may take
    reading_seconds  that a request's body may take to arrive
    decoders         pictures that are opened at a time
    """

    key: str | None = None
    hosts: tuple[str, ...] = ()
    max_bytes: int = 8_000_000
    max_megapixels: float = 25
    at_once: int = 64
    batch: int = 16
    seconds: float = 20
    reading_seconds: float = 20
    decoders: int = 2
