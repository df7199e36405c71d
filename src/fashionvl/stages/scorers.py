"""BLEU-4, METEOR, ROUGE-L and CIDEr as COCO's caption scorers (`pycocoevalcap`) count them, on PTB tokens.

The tokenizer and METEOR are Java programs inside that package. They are started here and not through its own wrappers,
which write into the package's folder and wait for ever for a METEOR that has died; programs, options and the list of
punctuation are its own. Where Java or the package is missing captions are not measured, and nothing stands in for it.
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fashionvl.catalogue.problems import Problem
from fashionvl.metrics import sum_of_caption_scores

SCORER = "pycocoevalcap 1.2: PTB tokens of CoreNLP 3.4.1, METEOR 1.5, one reference"
TOKENIZER = ["-cp", "stanford-corenlp-3.4.1.jar", "edu.stanford.nlp.process.PTBTokenizer"]
METEOR = ["-Xmx2G", "-jar", "meteor-1.5.jar"]
ALIKE_EVERYWHERE = ["-Dfile.encoding=UTF-8", "-Duser.language=en"]  # whatever the locale
FINAL = re.compile(r"^Final score:\s+(\S+)$", re.MULTILINE)


def why_not() -> str | None:
    """The sentence that says why captions cannot be measured here; None where they can."""
    if shutil.which("java") is None:
        return "captions are not measured: the caption scorers need Java, and there is no `java` on the PATH"
    if importlib.util.find_spec("pycocoevalcap") is None:
        return "captions are not measured: pycocoevalcap is not installed (`pip install -e '.[captions]'`)"
    return None


def score(said: Sequence[str], reference: Sequence[str]) -> dict[str, float] | None:
    """Score captions against one reference each.

    said, reference  as many of either, of any characters; an empty one counts as one that says nothing
    -> bleu4, meteor, rouge_l, cider, each times 100 (CIDEr too: 32.6 is 0.326 on its scale of 0 to 10), and sumcap;
       None where `why_not` says so

    Raises Problem when a Java program fails. CIDEr weighs words by how few references have them, so that it is 0
    for a single caption.
    """
    if len(said) != len(reference) or not said:
        raise ValueError(f"{len(said)} captions and {len(reference)} references: one each is needed, and at least one")
    if why_not() is not None:
        return None
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    tokens = tokens_of([*said, *reference])
    ours, theirs = tokens[: len(said)], tokens[len(said) :]
    answers, right = ({number: [line] for number, line in enumerate(lines)} for lines in (ours, theirs))
    found = {
        "bleu4": float(Bleu(4).compute_score(right, answers, verbose=0)[0][3]),
        "meteor": _meteor(ours, theirs),
        "rouge_l": float(Rouge().compute_score(right, answers)[0]),
        "cider": float(Cider().compute_score(right, answers)[0]),
    }
    found = {name: 100 * value for name, value in found.items()}
    return {**found, "sumcap": sum_of_caption_scores(found)}


def tokens_of(captions: Sequence[str]) -> list[str]:
    """Each caption in small letters, its PTB tokens without punctuation with one space between them."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    # One line each: what Java takes for the end of a line would shift all captions that follow.
    lines = "".join(" ".join(caption.split()) + "\n" for caption in captions)
    found = _java("tokenizer", [*TOKENIZER, "-preserveLines", "-lowerCase"], lines).split("\n")[:-1]
    if len(found) != len(captions):
        raise Problem(f"the PTB tokenizer made {len(found)} lines of {len(captions)} captions")
    return [" ".join(word for word in line.split() if word not in PUNCTUATIONS) for line in found]


def _meteor(ours: Sequence[str], theirs: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory(prefix="meteor-") as folder:
        files = [Path(folder) / name for name in ("said.txt", "reference.txt")]
        for file, lines in zip(files, (ours, theirs), strict=True):
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        printed = _java("meteor", [*METEOR, *map(str, files), "-l", "en", "-norm"], "")
    final = FINAL.search(printed)
    if final is None:
        raise Problem(f"METEOR ended without a score; it said: {printed[-300:].strip()}")
    return float(final[1])


def _java(part: str, arguments: Sequence[str], text: str) -> str:
    """Run a program of pycocoevalcap in its folder, from which it reads its tables -> what it printed."""
    spec = importlib.util.find_spec("pycocoevalcap")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    answer = subprocess.run(
        ["java", *ALIKE_EVERYWHERE, *arguments],
        cwd=Path(spec.submodule_search_locations[0]) / part,
        input=text.encode(errors="replace"),
        capture_output=True,
        check=False,
    )
    if answer.returncode != 0:
        lines = answer.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise Problem(f"captions cannot be scored: Java's {part} ended with {answer.returncode} ({lines[-1]})")
    return answer.stdout.decode(errors="replace")
