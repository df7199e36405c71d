"""The parts of the report on dual encoders: what they know without being asked for it, and what they are not shown."""

from collections.abc import Mapping
from html import escape

from fashionvl.catalogue.style import table
from fashionvl.stages.pages.parts import Metrics, absent, cell, note
from fashionvl.tasks.composition import CHANGES
from fashionvl.tasks.probes import PROMPTS

TASKS = {"category": "category", "sub_category": "sub-category"}


def probes(probed: Mapping[str, Metrics]) -> str:
    """One column a dual encoder.

    probed  build/metrics/<name>-probe.json by its name
    """
    if not probed:
        return absent("No dual encoder was probed here.")
    names = list(probed)
    rows = [
        [f"{said}, {how}", *(cell(probed[name], f"{task}.{key}.accuracy") for name in names)]
        for task, said in TASKS.items()
        for key, how in [
            *((f"zero_shot.{prompts}", f"zero-shot, prompts “{prompts}”") for prompts in PROMPTS),
            ("probe", "linear probe"),
        ]
    ]
    rows += [
        [f"true text before the one made by: {change}", *(cell(probed[name], key) for name in names)]
        for change, key in ((change, f"composition.{change}.all.accuracy") for change in CHANGES)
        if any(key in metrics for metrics in probed.values())
    ]
    return table(["", *names], rows) + note(
        "Zero-shot: the class whose prompts are nearest to the picture. Linear probe: a linear layer on the frozen"
        " vectors of training pictures. Below: how often the true text is nearer to the picture than the same text with"
        " one attribute replaced, swapped or added; chance is 50."
    )


def hidden(drawn: Mapping[str, str]) -> str:
    """What of some pictures each row did not see at the end of its training.

    drawn  data addresses by the name of the row
    """
    parts = [
        f'<h3>{escape(name)}</h3><div class="wide"><img class="sheet" src="{source}"'
        f' alt="What {escape(name)} is not shown of some pictures"></div>'
        for name, source in drawn.items()
    ]
    explained = note(
        "Of each product: the picture; its anchors (outlined) and the patches that go with each, one colour an anchor;"
        " what the model sees of it in one step of training."
    )
    return explained + "".join(parts)
