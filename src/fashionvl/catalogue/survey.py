"""What a checked catalogue is like: the numbers of the data report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fashionvl.catalogue.intake import Intake
from fashionvl.catalogue.likeness import near_pairs
from fashionvl.catalogue.product import SPLITS

TAIL = 10  # a class with fewer training products is called rare
NAMED = 50  # most names a list of the report holds
BINS = 12  # of the histogram of text lengths


def survey(intake: Intake, texts: Sequence[str], *, near_duplicate_bits: int) -> dict[str, Any]:
    """All numbers of the report: flat counts first, dictionaries by rule, then lists for tables.

    texts  the text of every product, as the models will read it
    """
    products, pictures = intake.products, intake.pictures
    split_of_picture = products["split"].to_numpy()[pictures["product"].to_numpy()]
    near = near_duplicates(pictures["phash"].to_numpy(), split_of_picture, near_duplicate_bits)
    facts: dict[str, Any] = {
        "rows": intake.count,
        "rows_accepted": len(pictures),
        "rows_set_aside": len(intake.rejected),
        "share_set_aside": round(intake.share_set_aside, 6),
        "products": len(products),
        "pictures": len(pictures),
        "groups": int(products["group_id"].nunique()),
        "pictures_a_product": round(len(pictures) / max(len(products), 1), 3),
    }
    for split in SPLITS:
        facts[f"products_{split}"] = int((products["split"] == split).sum())
        facts[f"pictures_{split}"] = int((split_of_picture == split).sum())
    facts |= _about_texts(texts, products["split"])
    facts |= _about_copies(pictures, split_of_picture) | {
        name: near[name] for name in near if name != "near_duplicate_examples"
    }
    facts |= _about_classes(products)
    facts["set_aside"] = _counts(one.rule for one in intake.rejected)
    facts["repaired"] = dict(sorted(intake.repaired.items()))
    facts["classes"] = {name: _class_table(products, name) for name in ("category", "sub_category")}
    facts["text_lengths"] = _histogram(texts)
    facts["near_duplicate_examples"] = near["near_duplicate_examples"]
    facts["remarks"] = remarks(facts)
    return facts


def _counts(names: Any) -> dict[str, int]:
    return {
        str(name): int(count) for name, count in pd.Series(list(names), dtype="str").value_counts().sort_index().items()
    }


def _about_texts(texts: Sequence[str], split: pd.Series) -> dict[str, Any]:
    """Lengths in words, and how many texts of validation and test stand in training too."""
    words = np.array([len(text.split()) for text in texts] or [0])
    said = pd.Series(list(texts), dtype="str")
    training = set(said[(split == "train").to_numpy()])
    facts = {
        "words_mean": round(float(words.mean()), 2),
        "words_median": int(np.median(words)),
        "words_p95": int(np.percentile(words, 95)),
        "words_max": int(words.max()),
        "texts_different": int(said.nunique()),
        "texts_empty": int((said.str.strip() == "").sum()),
    }
    for name in ("val", "test"):
        facts[f"texts_of_{name}_in_train"] = int(said[(split == name).to_numpy()].isin(training).sum())
    return facts


def _about_copies(pictures: pd.DataFrame, split: np.ndarray) -> dict[str, int]:
    """Pictures whose file is the same, byte for byte."""
    content = pictures["sha256"]
    training = set(content[split == "train"])
    facts = {"exact_duplicate_pictures": int(content.duplicated().sum())}
    for name in ("val", "test"):
        facts[f"pictures_of_{name}_in_train"] = int(content[split == name].isin(training).sum())
    return facts


def near_duplicates(phash: np.ndarray, split: np.ndarray, bits: int) -> dict[str, Any]:
    """Pictures that look the same to the perceptual hash.

    phash  (n,) str   16 hexadecimal digits
    split  (n,) str   the split of each picture
    ->     how many pictures have another one within `bits`, how many of validation and test have one in training, and
           the rows of a few pairs
    """
    hashes = np.array([int(digits, 16) for digits in phash], dtype=np.uint64)
    different, first, which, count = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    training = np.zeros(len(different), dtype=bool)
    training[which[split == "train"]] = True
    alike, like_training = count > 1, training.copy()
    examples: list[list[int]] = []
    for i, j in near_pairs(different, bits):
        alike[i] = alike[j] = True
        like_training[i] |= training[j]
        like_training[j] |= training[i]
        examples += [[int(first[a]), int(first[b])] for a, b in zip(i, j, strict=True)][: NAMED - len(examples)]
    facts: dict[str, Any] = {"near_duplicate_pictures": int(alike[which].sum())}
    for name in ("val", "test"):
        facts[f"near_duplicates_of_{name}_in_train"] = int(like_training[which[split == name]].sum())
    facts["near_duplicate_examples"] = sorted(sorted(pair) for pair in examples)
    return facts


def _about_classes(products: pd.DataFrame) -> dict[str, int]:
    facts = {}
    for name in ("category", "sub_category"):
        table = _class_table(products, name)
        facts[f"{name}_classes"] = len(table)
        facts[f"{name}_classes_in_one_split"] = sum(_in_one_split(row) for row in table)
        facts[f"{name}_classes_unseen_in_training"] = sum(row["train"] == 0 for row in table)
        facts[f"{name}_classes_rare_in_training"] = sum(0 < row["train"] < TAIL for row in table)
        facts[f"products_without_{name}"] = int((products[name] == "").sum())
    return facts


def _class_table(products: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """One row a class with its products in each split, the largest first."""
    named = products[products[name] != ""]
    counts = pd.crosstab(named[name], named["split"]).reindex(columns=list(SPLITS), fill_value=0)
    rows = [
        {"name": str(label), **dict(zip(SPLITS, map(int, numbers), strict=True))}
        for label, numbers in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    return sorted(rows, key=lambda row: (-sum(row[split] for split in SPLITS), row["name"]))


def _in_one_split(row: dict[str, Any]) -> bool:
    return sum(row[split] > 0 for split in SPLITS) == 1


def _histogram(texts: Sequence[str]) -> list[list[int]]:
    """-> from, below, count   of the texts by their number of words."""
    words = np.array([len(text.split()) for text in texts] or [0])
    step = max(1, int(np.ceil((words.max() + 1) / BINS)))
    counts = np.bincount(words // step, minlength=1)
    return [[i * step, (i + 1) * step, int(count)] for i, count in enumerate(counts)]


def remarks(facts: dict[str, Any]) -> list[str]:
    """What somebody should know before training, in sentences."""
    said = []
    for split in SPLITS:
        if facts[f"products_{split}"] == 0:
            said.append(f"No product is in the split {split}; stages that read it will stop.")
    for name, label in (("category", "category"), ("sub_category", "sub-category")):
        lonely = [f"{row['name']} ({_only(row)})" for row in facts["classes"][name] if _in_one_split(row)]
        if lonely:
            more = f" and {len(lonely) - NAMED} more" if len(lonely) > NAMED else ""
            said.append(f"Seen in one split only, and kept, by {label}: {', '.join(lonely[:NAMED])}{more}.")
    for split in ("val", "test"):
        for what, key in (
            ("texts", f"texts_of_{split}_in_train"),
            ("picture files", f"pictures_of_{split}_in_train"),
            ("near-duplicate pictures", f"near_duplicates_of_{split}_in_train"),
        ):
            if facts[key]:
                said.append(f"{facts[key]} {what} of {split} stand in train too.")
    if facts["texts_empty"]:
        said.append(f"{facts['texts_empty']} products say nothing in the fields named under text.fields.")
    return said


def _only(row: dict[str, Any]) -> str:
    split = next(split for split in SPLITS if row[split])
    return f"{row[split]} in {split}"
