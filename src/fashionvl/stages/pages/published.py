"""What Kaleido-BERT (CVPR 2021) printed of itself and of those before it, on Fashion-Gen: Tables 2 to 4, as published.

All in points of a hundred, as printed, macro-F too (0.714 is 71.4 here). None: the paper has no number.
"""

OURS = "Kaleido-BERT"

# Table 2: retrieval. ITR asks with a picture for its text, TIR with a text for its picture.
RETRIEVAL: dict[str, dict[str, float]] = {
    "ViLBERT": {
        **{"itr.R@1": 20.97, "itr.R@5": 40.49, "itr.R@10": 48.21},
        **{"tir.R@1": 21.12, "tir.R@5": 37.23, "tir.R@10": 50.11},
    },
    "VL-BERT": {
        **{"itr.R@1": 19.26, "itr.R@5": 39.90, "itr.R@10": 46.05},
        **{"tir.R@1": 22.63, "tir.R@5": 36.48, "tir.R@10": 48.52},
    },
    "FashionBERT": {
        **{"itr.R@1": 23.96, "itr.R@5": 46.31, "itr.R@10": 52.12},
        **{"tir.R@1": 26.75, "tir.R@5": 46.48, "tir.R@10": 55.74},
    },
    "ImageBERT": {
        **{"itr.R@1": 22.76, "itr.R@5": 41.89, "itr.R@10": 50.77},
        **{"tir.R@1": 24.78, "tir.R@5": 45.20, "tir.R@10": 55.90},
    },
    "OSCAR": {
        **{"itr.R@1": 23.39, "itr.R@5": 44.67, "itr.R@10": 52.55},
        **{"tir.R@1": 25.10, "tir.R@5": 49.14, "tir.R@10": 56.68},
    },
    OURS: {
        **{"itr.R@1": 27.99, "itr.R@5": 60.09, "itr.R@10": 68.37},
        **{"tir.R@1": 33.88, "tir.R@5": 60.60, "tir.R@10": 68.59},
    },
}

ROWS = {  # of params.yaml: what the paper calls them
    "kaleido": OURS,
    "fashionbert": "FashionBERT",
    "imagebert": "ImageBERT",
    "oscar": "OSCAR",
    "vlbert": "VL-BERT",
    "vilbert": "ViLBERT",
}

# Table 3: category (CR) and sub-category (SUB) recognition, and captioning (FC).
RECOGNITION: dict[str, dict[str, tuple[float, float]]] = {  # accuracy, macro-F over all classes
    "category": {
        "FashionBERT": (91.25, 70.5),
        "ImageBERT": (90.77, 69.9),
        "OSCAR": (91.79, 72.7),
        OURS: (95.07, 71.4),
    },
    "sub_category": {
        "FashionBERT": (85.27, 62.0),
        "ImageBERT": (80.11, 57.5),
        "OSCAR": (84.23, 59.1),
        OURS: (88.07, 63.6),
    },
}
CAPTIONS = ("bleu4", "meteor", "rouge_l", "cider")
CAPTIONING: dict[str, dict[str, float] | None] = {
    "FashionBERT": {"bleu4": 3.30, "meteor": 9.80, "rouge_l": 29.7, "cider": 30.1},
    "ImageBERT": None,
    "OSCAR": {"bleu4": 4.50, "meteor": 10.9, "rouge_l": 30.1, "cider": 30.7},
    OURS: {"bleu4": 5.70, "meteor": 12.8, "rouge_l": 32.9, "cider": 32.6},
}

# Table 4: each cell by the metric that stands beside it here.
RECALLS = [f"sampled.{way}.R@{at}" for way in ("itr", "tir") for at in (1, 5, 10)]
RECOGNISED = {
    "category.both.accuracy": "CR acc",
    "category.both.macro_f_all": "CR F",
    "sub_category.both.accuracy": "SUB acc",
    "sub_category.both.macro_f_all": "SUB F",
}
SAID = {  # the paper masks all words
    "captioning.mask_all.bleu4": "BLEU-4",
    "captioning.mask_all.meteor": "METEOR",
    "captioning.mask_all.rouge_l": "ROUGE-L",
    "captioning.mask_all.cider": "CIDEr",
}
_PRINTED = {
    "fixed": "24.71 50.05 58.93 30.17 52.29 60.82 93.44 70.1 86.89 63.0 4.9 11.0 29.8 30.9",
    "whole": "26.73 54.55 65.44 32.19 58.40 66.49 93.45 70.5 87.61 63.4 5.2 11.7 31.5 31.3",
    "random": "26.55 55.13 64.92 32.14 56.99 63.77 92.71 71.1 87.20 63.3 5.3 11.3 30.3 31.7",
    "B": "25.37 54.97 62.13 31.09 57.35 64.79 90.94 69.0 81.66 55.8 4.9 11.6 30.4 31.0",
    "B+I": "25.07 55.14 62.90 30.98 57.44 65.65 90.82 69.2 81.25 57.5 5.2 11.6 30.7 31.5",
    "B+I-II": "26.03 56.31 63.37 32.22 58.73 64.16 91.40 72.1 84.44 59.6 5.2 11.8 30.8 31.4",
    "B+I-III": "26.88 58.34 67.79 33.17 58.55 67.92 93.91 71.3 86.49 63.6 5.1 12.6 31.9 32.0",
    "B+I-IV": "26.20 59.13 67.99 33.80 60.57 68.41 94.05 71.0 88.53 63.3 5.6 12.8 32.7 32.3",
    "B+V": "24.62 53.78 60.88 30.77 55.95 61.70 88.87 70.1 81.64 59.6 5.3 11.4 30.6 31.3",
}
# "Kaleido + SOD", "AGM" and "B + I-V" are the full model of Tables 2 and 3; the last of the three reads an R@10 of
# 68.09 for 68.59, and so a SumR of 319.02.
_FULL = [
    *RETRIEVAL[OURS].values(),
    *(cell for task in RECOGNITION.values() for cell in task[OURS]),
    *((CAPTIONING[OURS] or {})[name] for name in CAPTIONS),
]
ABLATIONS: dict[str, dict[str, float]] = {
    name: dict(zip([*RECALLS, *RECOGNISED, *SAID], cells, strict=True))
    for name, cells in {"full": _FULL, **{name: map(float, line.split()) for name, line in _PRINTED.items()}}.items()
}

WARNING = (
    "As published means quoted, on another catalogue and never a target: the scoring script behind these figures"
    " printed a Rank@100 of 55 % for a predecessor, where 1 right candidate of 101 must give nearly 100 %, so about"
    " 45 % of its queries had no right answer in the evaluated files, and nobody can tell whether the paper's own lists"
    " had the same fault."
)


def sums_of(column: str) -> dict[str, float]:
    """The three sums of a column of Table 4."""
    cells = ABLATIONS[column]
    parts = {"SumR": RECALLS, "SumCLS": RECOGNISED, "SumCAP": SAID}
    return {name: round(sum(cells[key] for key in keys), 2) for name, keys in parts.items()}


def sum_of_recalls(name: str) -> float:
    """SumR, the sum of the six cells of Table 2."""
    return round(sum(RETRIEVAL[name].values()), 2)


def sum_of_classes(name: str) -> float:
    """SumCLS: accuracy and macro-F of both tasks."""
    return round(sum(sum(RECOGNITION[task][name]) for task in RECOGNITION), 2)
