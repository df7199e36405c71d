"""The README.md of a saved system: what it is, how it was measured, how it is used."""

from fashionvl.pretrained.parts import Facts

SHOWN = 12  # numbers of a part

PARTS = {
    "model": "pre-trained single stream (Kaleido-BERT)",
    "retrieval": "fine-tuned to match pictures and texts",
    "category": "fine-tuned to recognise categories",
    "sub_category": "fine-tuned to recognise sub-categories",
    "captioning": "fine-tuned to caption",
    "encoder": "patch encoder",
    "saliency": "network that locks the object",
    "detector": "network that finds regions",
    "visual_words": "what stands for the classes of segments",
    "captioner": "Show, Attend and Tell, for alignments",
    "captioner_encoder": "what the captioner looks through",
}

USE = """
```python
import fashionvl

model = fashionvl.load("this folder")
model.match("shoe.jpg", "red boots")
model.classify("shoe.jpg", task="sub_category")
```

Nothing is downloaded, and nothing here is pickled. Vectors of `embed` compare pictures with pictures and texts with
texts only: no loss of Kaleido-BERT makes one comparable with the other.
"""


def readme(facts: Facts) -> str:
    """A short model card from what is known of the parts."""
    lines = ["---", "library_name: fashionvl", "tags: [fashion, vision-language]", "---", f"# {facts['system']}", ""]
    lines += ["| part | what it is |", "|---|---|"]
    lines += [f"| `{part}.safetensors` | {PARTS[part]} |" for part in facts["parts"]]
    for part, known in facts["parts"].items():
        found = [pair for pair in known.get("metrics", {}).items() if not pair[0].endswith((".low", ".high"))]
        if found:
            lines += ["", f"Measured, {part}:", "", "| | |", "|---|---|"]
            lines += [f"| {name} | {value:.4g} |" for name, value in found[:SHOWN]]
    return "\n".join(lines) + "\n" + USE
