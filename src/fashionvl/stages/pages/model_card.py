"""The end of the report: what the model is for and not for, and exactly what made these numbers."""

from collections.abc import Mapping, Sequence
from html import escape

import yaml

from fashionvl.catalogue.style import table
from fashionvl.stages.pages.parts import Metrics, fold, note
from fashionvl.stages.pages.trainings import Training, took

FOR = (
    "Finding products of this catalogue by words or by a picture, and products that are like one another.",
    "Proposing a category or a first draft of a text, for a person to accept.",
    "Finding rows whose picture, text and category do not fit together.",
)
NOT_FOR = (
    "Other catalogues, languages or kinds of photograph without learning from them first.",
    "Anything about people in the pictures: who they are, how they look, what suits them.",
    "Texts that go out unread: a caption may name a colour, a fabric or a part that is not there.",
)


def model_card(facts: Metrics, trained: Mapping[str, Training], fields: Sequence[str]) -> str:
    """What a reader must know before using the model."""
    seconds = sum(each.seconds for each in trained.values())
    times = [(name, f"{each.steps:,}", took(each.seconds)) for name, each in trained.items()]
    limits = (
        f"It has read {facts['products_train']:,} products only; of their texts {', '.join(fields)}.",
        "One seed: other seeds give other numbers, and the intervals here hold the chance of the test split only.",
        f"{facts['sub_category_classes_rare_in_training']} of {facts['sub_category_classes']} sub-categories are rare"
        " in training, so little could be learned of them.",
        "What the catalogue says of gender, age or colour is repeated, its mistakes too.",
    )
    said = (
        f"Data: {facts['pictures']:,} pictures of {facts['products']:,} products of this catalogue, and nothing else"
        f" unless params.yaml names weights from elsewhere. Training took {took(seconds)} in all."
    )
    licence = "Licence: the pictures and texts belong to the catalogue; whoever passes this page on passes them on."
    return "".join(
        (
            f"<h3>It is for</h3>{_list(FOR)}<h3>It is not for</h3>{_list(NOT_FOR)}<h3>Limits</h3>{_list(limits)}",
            f"<h3>Data and time</h3><p>{escape(said)}</p>",
            table(("training", "steps", "time"), times, right=(1, 2)) if times else "",
            f"<p>{escape(licence)}</p>",
        )
    )


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def provenance(
    commands: Sequence[str], versions: Mapping[str, str], hashes: Mapping[str, str], seed: int, params: Mapping
) -> str:
    """The commands, versions, checksums and parameters that made this page.

    hashes  sha256 by file
    """
    listing = "\n".join(commands)
    text = yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    rows = [*versions.items(), ("seed", str(seed))]
    return "".join(
        (
            note("The same commands with the same data, seed and kind of machine give the same numbers."),
            f"<pre>{escape(listing)}</pre>",
            table(("what", "version"), rows),
            "<h3>Checksums (sha256)</h3>",
            table(("file", "first 16 digits"), [(name, digits[:16]) for name, digits in hashes.items()]),
            fold("All parameters", f"<pre>{escape(text)}</pre>"),
        )
    )
