"""What requests may say and what answers look like: the schemas of the OpenAPI description."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LONGEST_TEXT = 1000  # characters
LONGEST_NAME = 200  # characters of a product's id, of a filter and of a value


def _writable(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("half of a surrogate pair is no character")
    return text


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, pattern=r"\S"), AfterValidator(_writable)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_writable)]
Where = Annotated[
    dict[Name, Annotated[list[Name], Field(min_length=1, max_length=100)]],
    Field(max_length=16, description="facet: the values that are allowed; /facets lists them"),
]


class Form(BaseModel):
    """An unknown key, a wrong type, NaN and infinity are refused; 1 is no true, and "5" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Search(Form):
    """What to look for: a text, a picture (multipart), both, what is similar to a product, or that with a text."""

    text: Text | None = None
    product: Name | None = Field(None, description="id of a product that similar ones are wanted of")
    count: int = Field(10, ge=1, le=100, description="products wanted")
    where: Where = {}
    rerank: int | None = Field(
        None, ge=0, le=200, description="how many of the first the cross-encoder scores; 0 for none, null for the usual"
    )
    budget: float | None = Field(None, gt=0, le=15, description="seconds after which no more is re-ranked")
    explain: bool = Field(False, description="true for the words that matched, and where they point")


class Classify(Form):
    """What a product is, by its text, its picture (multipart), or both."""

    text: Text | None = None
    task: Literal["category", "sub_category"] = "sub_category"
    top: int = Field(5, ge=1, le=50, description="likeliest classes wanted")


class Caption(Form):
    """How a picture is put into words: word by word, or all at once as the paper has it."""

    mode: Literal["causal", "mask_all"] = "causal"
    beam: int = Field(5, ge=1, le=10, description="hypotheses of `causal`; 1 is greedy")


class Match(Form):
    """Texts that are held against one picture."""

    texts: list[Text] = Field(min_length=1, max_length=64)


class Problem(BaseModel):
    """One sentence that says what to do."""

    error: str


class WhyOut(BaseModel):
    word: str
    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom in 0..1 of the first picture")
    score: float


class ProductOut(BaseModel):
    product_id: str
    title: str
    description: str
    category: str
    sub_category: str
    attributes: dict[str, str]
    pictures: list[str] = Field(description="addresses on this service; of a found product the best view first")


class FoundOut(ProductOut):
    recalled: float = Field(description="cosine of the first stage")
    reranked: float | None = Field(description="log-odds of the cross-encoder; null where it was not asked")
    why: list[WhyOut]


class AnswerOut(BaseModel):
    found: list[FoundOut]
    seconds: dict[str, float]
    versions: dict[str, str] = Field(description="what the index was made of")


class ClassOut(BaseModel):
    name: str
    probability: float


class ClassesOut(BaseModel):
    task: str
    classes: list[ClassOut]


class CaptionOut(BaseModel):
    caption: str


class MatchOut(BaseModel):
    text: str
    log_odds: float
    probability: float


class MatchesOut(BaseModel):
    matches: list[MatchOut]


class HealthOut(BaseModel):
    live: bool
    ready: bool
    versions: dict[str, str]
    can: list[str] = Field(description="what the trained system can be asked: match, caption, category, sub_category")
    swaps: int = Field(description="how often another system took over since the start")
    refused: bool = Field(description="true where the newest system that was named could not be loaded; see the log")


class Pulse(BaseModel):
    yes: bool
