"""The one reader of params.yaml. An unknown or missing key is an error that names it."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ALIGNMENTS = ("none", "caption", "teacher")
STUDIES = {  # section: the tasks that its runs may be fine-tuned for
    "ablation": ("category", "sub_category", "captioning"),  # Table 4 ranks with the head as it was pre-trained
    "comparison": ("retrieval", "category", "sub_category", "captioning"),
}
DRIFTS = ("category", "sub_category", "words", "unknown", "colours", "encoder")
DECAYS = ("linear", "cosine")
PLACES = ("box", "learned")
WEIGHTINGS = ("sum", "adaptive")
INDICES = ("ivf", "hnsw")
SCRATCH = "scratch"  # the detector that the stage of that name learns
COARSEST = 32  # the scratch detector's coarsest map is this many times smaller than a picture
PICTURES = ("none", "local", "all")
PROPOSERS = ("detector", "segments")
REGION_FEATURES = ("crops", "pooled", "detector")
MOST_REGIONS = 100  # ImageBERT's
FINEST_GRID = 16  # its 256 patches are four times as many tokens as the longest text


Row = typing.TypeVar("Row", "System", "Contrast", "Clip")


class ConfigError(ValueError):
    """A parameter is missing, unknown or of the wrong kind; the message names it."""


@dataclass(frozen=True)
class Catalogue:
    columns: dict[str, str]
    split: dict[str, float]
    set_aside_limit: float
    max_megapixels: float
    near_duplicate_bits: int


@dataclass(frozen=True)
class Text:
    fields: list[str]


@dataclass(frozen=True)
class Words:
    source: str
    vocabulary: int
    slots: int


@dataclass(frozen=True)
class Regions:
    """Boxes around what a picture shows, in place of grids.

    by        detector | segments: what proposes them; `segments` (parts of one colour) is for those without a detector
    detector  scratch, or a folder or hub name in the format of `transformers`; only with by: detector
    most      slots a picture, the first of which is the whole picture
    classes   how many visual words stand for classes; only with by: segments
    features  crops: each cut out and encoded | pooled: of the encoder's map of the whole picture | detector: its own
    """

    by: str
    detector: str | None
    most: int
    classes: int | None
    features: str


@dataclass(frozen=True)
class Patches:
    """One kind of patches: grids or regions, one of them."""

    encoder: str
    pixels: int
    grids: list[int]  # sides, the coarsest first; none with regions
    foreground: str
    saliency: str | None
    margin: float
    shard: int
    regions: Regions | None = None


@dataclass(frozen=True)
class Training:
    """How long and how fast; one epoch shows every training product once."""

    epochs: float
    batch: int
    lr: float
    warmup: float  # share of the steps
    weight_decay: float  # not on biases and layer norms
    clip: float  # global norm of the gradient
    accumulate: int  # micro-batches a step
    checkpointing: bool  # recompute activations backward, to save memory
    least_steps: int = 1  # for a catalogue so small that its epochs are few steps
    decay: str = "linear"  # linear | cosine: how the learning rate falls to 0 after the warm-up
    betas: list[float] = dataclasses.field(default_factory=lambda: [0.9, 0.999])  # of AdamW
    epsilon: float = 1e-8  # of AdamW

    def steps(self, items: int) -> int:
        """How many optimiser steps these epochs are for so many training items; `least_steps` at least."""
        return max(self.least_steps, math.ceil(self.epochs * items / self.batch))


@dataclass(frozen=True)
class SingleStream:
    """Sizes of the single-stream encoder.

    start    a BERT checkpoint folder or hub name; `contrast`, which lets words and patches get acquainted first
             (tasks/acquaint.py); or null
    meeting  True where [CLS] is told what words and patches have in common (not in the paper)
    places   box, by its corners, or learned, by a vector of its slot: how a patch says where it is
    streams  1, or 2: words and patches in encoders of their own that look at each other (ViLBERT)
    glance   True where every word is told what the whole picture looks like (VL-BERT)
    """

    width: int
    layers: int
    heads: int
    inner: int
    dropout: float
    start: str | None = None
    meeting: bool = False
    places: str = "box"
    streams: int = 1
    glance: bool = False


@dataclass(frozen=True)
class Phase:
    """An earlier corpus of a staged pre-training (ImageBERT, multi-stage pre-training).

    build  the folder that the stages made of that catalogue, with the words and the patch encoder of this one
    """

    build: str
    training: Training


@dataclass(frozen=True)
class System:
    """One row of the table of papers: a single-stream system.

    alignment  what guides which words and patches are hidden (AGM): `caption`, what the captioner says by itself and
               the text holds; `teacher`, every word it is told; or `none`, which hides at random
    negatives  same_subcategory, the share of mismatches of one sub-category; tags, of those with only the tags swapped
    tags       slots of the words that name the regions of a picture and are read beside them (OSCAR); 0 for none
    weighting  sum, or adaptive: by the values of the losses themselves (FashionBERT)
    phases     corpora that are learned from before this catalogue, in order; weights are carried over
    """

    patches: str
    alignment: str
    model: SingleStream
    objectives: dict[str, float]
    matched_only: list[str]
    negatives: dict[str, float]
    training: Training
    tags: int = 0
    weighting: str = "sum"
    phases: list[Phase] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Lock:
    """What of a picture is looked at while learning from pixels."""

    foreground: str  # none | border
    margin: float


@dataclass(frozen=True)
class Augment:
    """How a picture and its text are changed at random each time."""

    crop: float  # how far a window moves and stretches, as a share of itself
    flip: bool
    word_dropout: float


@dataclass(frozen=True)
class Encoder:
    """The scratch patch encoder, and how it is learned."""

    channels: list[int]
    pixels: int
    width: int  # of the space where pictures and texts meet
    lock: Lock
    augment: Augment
    training: Training


@dataclass(frozen=True)
class DetectorSizes:
    """Of the scratch detector (models/scratch_detector.py)."""

    channels: list[int]  # of the stem, and of the maps that are 4, 8, 16 and 32 times smaller than the picture
    width: int  # of the maps that queries look at, and of the queries
    inner: int
    heads: int
    layers: int  # of the decoder
    queries: int  # objects that can be seen in a picture
    noised: int  # true boxes that are noised and put right, beside them, in training


@dataclass(frozen=True)
class Detector:
    """The scratch object detector, and the sample that it is learned from."""

    products: int
    sample_seed: int
    least: int  # training boxes of a class that is learned
    pixels: list[int]  # height, width of a picture
    sizes: DetectorSizes
    cells: int  # that are told of each object (tasks/cells.py)
    crop: float  # how far a window moves and stretches, as a share of the picture
    flip: bool
    training: Training  # an epoch shows every picture once


@dataclass(frozen=True)
class Contrast:
    """A dual encoder trained by InfoNCE on whole pictures."""

    channels: list[int]
    pixels: list[int]  # height, width
    width: int
    lock: Lock
    augment: Augment
    training: Training


@dataclass(frozen=True)
class Transformer:
    """Sizes of one transformer."""

    width: int
    layers: int
    heads: int
    inner: int


@dataclass(frozen=True)
class TowerSizes:
    """Of both towers of CLIP's family, where they learn from nothing (models/clip.py)."""

    pixels: list[int]  # height, width of a picture
    patch: int  # side in pixels
    dim: int  # of the space where both meet
    channels: list[int]  # of the convolutional stem; none for CLIP's linear one
    means: bool  # True where mean patches and a bag of words have a say of their own (not in the papers)
    picture: Transformer
    text: Transformer


@dataclass(frozen=True)
class Towers:
    """Both towers of CLIP's family: from nothing, or from a checkpoint with sizes and words of its own.

    start  a CLIP folder or hub name, in the format of `transformers`; null where `sizes` says what is made
    """

    start: str | None
    sizes: TowerSizes | None


@dataclass(frozen=True)
class Clip:
    """One row of CLIP's family: CLIP, FLIP, FLIP-Attn, Cluster Masking."""

    towers: str  # a row of `towers`
    hiding: dict[str, Any]  # what of the pictures is not seen in training (tasks/hiding.py)
    at_once: int | None  # rows that are embedded at a time, for batches beyond memory; null for all
    lock: Lock
    augment: Augment
    training: Training


@dataclass(frozen=True)
class Trials:
    """Dual encoders compared on the user's catalogue: every row with every seed, for the same time."""

    minutes: float | None  # of training for each, turned into steps once for each row
    steps: int | None  # instead of minutes: as many for every row
    seeds: list[int]
    rows: list[str]  # of `contrast` and `clip`
    against: str  # the row that the others are compared with
    looks: int  # how often R@1 is looked at while a row is taught
    reach: float  # the R@1, mean of both directions on the sampled lists, whose time is told


@dataclass(frozen=True)
class Captioner:
    """Show, Attend and Tell over the feature map of a patch encoder."""

    encoder: str  # scratch, or a ResNet folder or hub name
    pixels: int  # side of the square that the locked picture is brought to; the map is as many times smaller as it is
    block: int  # side of the square of cells that the decoder sees as one
    width: int
    dropout: float
    least: int  # training texts that a word must stand in to be said
    longest: int  # words of a caption
    beam: int  # 1 is greedy
    spread: float  # weight of the doubly stochastic penalty
    shown: float  # weight of the word detector's loss
    lock: Lock
    training: Training


@dataclass(frozen=True)
class Alignment:
    """How words are aligned with patches (AAG)."""

    heat: str  # detector | origin | attention (tasks/describe.py)
    tau: float  # a place belongs to a word's region where the heat is this share of its maximum, or more
    least_side: int  # of the grids whose patches are aligned
    pictures: int  # of the validation split, drawn for the report


@dataclass(frozen=True)
class Evaluate:
    losses_on: str
    ranking_on: str
    candidates: int
    queries: int
    draws: int
    full_gallery_pairs: int


@dataclass(frozen=True)
class Index:
    """What pictures are searched by (search/index.py)."""

    flat_below: int
    above: str  # ivf | hnsw
    lists: float
    probed: float
    links: int
    built: int
    breadth: int


@dataclass(frozen=True)
class Search:
    """Two-stage search: who recalls, who re-ranks, and how their answers become one order."""

    recall: str  # a row of `contrast`, `clip`, or of `towers` with `start`
    rerank: str | None  # a row of `systems`
    first: int  # products that are re-ranked
    cosine: float | None  # what one counts beside a log-odds; null for what the validation split says
    text: float  # share of the text in a query of text and picture
    index: Index


@dataclass(frozen=True)
class Gate:
    """When a newly trained system takes the champion's place (tasks/verdict.py); recalls and accuracies are shares."""

    split: str  # whose products are asked for
    queries: int  # products, at most
    candidates: int  # wrong ones that each is listed with
    least_gain: float  # what the lower end of the interval of the main number's gain must lie above
    worst: float  # how far a metric may fall
    worst_slice: float  # how far the main number may fall within a slice
    slices: list[str]  # columns of the catalogue, or attributes.x
    least_slice: int  # groups of a slice that is compared


@dataclass(frozen=True)
class Ranking:
    """How retrieval is learned from a pre-trained system (tasks/ranking.py); a batch counts products."""

    loss: str  # binary | multiclass | triplet
    margin: float  # of triplet, in log-odds
    block: int  # products whose pictures and texts are all compared
    same_subcategory: float  # share of the products that are compared with others of their sub-category
    likeness: bool  # True where a bag of words and the mean patches have a say of their own (models/likeness.py)
    word_dropout: float  # share of the pieces that are hidden
    vector_dropout: float  # share of the numbers of a patch vector that are set to 0
    training: Training


@dataclass(frozen=True)
class Recognition:
    """How category or sub-category are learned from a pre-trained system (tasks/recognition.py)."""

    readout: str  # cls | mean | bag: what the head sees (models/recognisers.py)
    columns: dict[str, float]  # share of the rows that show both sides, the image alone, the text alone
    word_dropout: float  # share of the words that are hidden
    patch_dropout: float  # share of the patches that are hidden
    training: Training


@dataclass(frozen=True)
class Captioning:
    """How captions are learned from a pre-trained system (tasks/captioning.py)."""

    modes: dict[str, float]  # causal, mask_all: the weight of the loss of each that is learned and examined
    word_dropout: float  # share of the pieces that `causal` reads as [MASK]
    beam: int  # of causal; 1 is greedy
    longest: int | None  # word pieces of a caption; null for as many as a text has slots for
    training: Training


@dataclass(frozen=True)
class Finetune:
    """How each downstream task is learned from a pre-trained system, by task."""

    retrieval: Ranking
    category: Recognition
    sub_category: Recognition
    captioning: Captioning


@dataclass(frozen=True)
class Study:
    """Trainings side by side: the columns of the paper's Table 4, or systems compared.

    A column is the base row, or another row of `systems`, with values of its own.
    """

    base: str  # the system
    base_patches: str  # that it reads
    minutes: float | None  # of training for each run, turned into steps once for each column
    steps: int | None  # instead of minutes: as many for every column
    seeds: list[int]
    patches: list[str]  # the kinds that are made for columns alone
    evaluate: dict[str, Any]  # what differs from `evaluate`
    tasks: list[str]  # that each run is fine-tuned for
    finetune: dict[str, dict[str, Any]]  # task: what differs from `finetune`, of its training key by key
    columns: dict[str, str]  # which are run: column: the patches it reads
    table: dict[str, dict[str, Any]]  # column: keys of its row, with other values; `system` names the row
    regions: dict[str, str] = dataclasses.field(default_factory=dict)  # kinds of regions for columns alone
    once: list[str] = dataclasses.field(default_factory=list)  # tasks that are learned from the first seed alone
    evaluate_once: dict[str, Any] = dataclasses.field(default_factory=dict)  # what differs for the tasks of that seed


@dataclass(frozen=True)
class Feed:
    """What a feed may bring (flows/ingest.py)."""

    withdrawn_limit: float  # share of the products; a feed that lacks more of them is taken for broken


@dataclass(frozen=True)
class Drift:
    """How far a newer state of the catalogue may be from the one before it (stages/drift.py)."""

    pictures: int  # of each state that are looked at
    partings: int  # of the older state into two random parts
    level: float  # quantile of what these parts differ by
    limits: dict[str, float]  # by measure: a larger distance counts as drift


@dataclass(frozen=True)
class Retention:
    """What `make clean-old` keeps (flows/retention.py); days are since something was last touched."""

    work_days: float  # unfinished trainings
    log_days: float  # logs, and what MLflow was never told of
    feed_states: int  # earlier states of a followed feed
    retrainings: int  # experiments `retrain-*`
    runs_days: float  # MLflow's runs
    versions: int  # of each registered model, beside those with an alias
    history_days: float  # Prefect's flow runs


@dataclass(frozen=True)
class Tracking:
    """What MLflow may be told (flows/facts.py)."""

    checkpoints: str  # last | none: whether the weights of finished trainings go there
    pictures: str  # none | local | all: whether pages with the user's pictures go there


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    seed: int
    run_patches: list[str]
    run_regions: dict[str, str]  # kind of patches: what it is made from beside the pictures, detector | encoder
    run: dict[str, str]  # system: patches
    run_contrast: list[str]
    run_clip: list[str]
    run_search: dict[str, str]  # who recalls: who re-ranks
    run_tasks: list[str]
    run_detectors: list[str]
    catalogue: Catalogue
    text: Text
    words: Words
    encoder: Encoder
    detector: Detector
    patches: dict[str, Patches]
    systems: dict[str, System]
    contrast: dict[str, Contrast]
    towers: dict[str, Towers]
    clip: dict[str, Clip]
    trials: Trials
    captioner: Captioner
    alignment: Alignment
    evaluate: Evaluate
    search: Search
    gate: Gate
    finetune: Finetune
    ablation: Study
    comparison: Study
    feed: Feed
    drift: Drift
    retention: Retention
    tracking: Tracking


def load(path: Path) -> Params:
    """Read and check params.yaml; raises ConfigError with a sentence that names the key."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; the command is run where params.yaml is, or takes --params"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    params: Params = build(Params, raw, "")
    _check_patches(params)
    _check_runs(params)
    _check_gate(params.gate)
    for study in STUDIES:
        _check_study(params, study)
    _check_towers(params)
    _check_training(params)
    _check_detector(params)
    _check_search(params)
    _check_keeping(params)
    return params


def _check_patches(params: Params) -> None:
    """A kind has grids or regions, and they can be made."""
    for kind, patches in params.patches.items():
        if patches.regions is None:
            _check_grids(patches.grids, f"patches.{kind}.grids")
        else:
            _expect(not patches.grids, patches.grids, "[] where it has regions", f"patches.{kind}.grids")
            _check_regions(patches.regions, f"patches.{kind}.regions")


def _check_regions(asked: Regions, where: str) -> None:
    _expect(asked.by in PROPOSERS, asked.by, f"one of {list(PROPOSERS)}", f"{where}.by")
    detects = asked.by == "detector"
    named = "a detector" if detects else "null without by: detector"
    _expect(bool(asked.detector) == detects, asked.detector, named, f"{where}.detector")
    enough = asked.classes is None if detects else asked.classes is not None and asked.classes >= 2
    counted = "null, a detector has classes of its own" if detects else "2 or more"
    _expect(enough, asked.classes, counted, f"{where}.classes")
    _expect(2 <= asked.most <= MOST_REGIONS, asked.most, f"from 2 to {MOST_REGIONS}", f"{where}.most")
    known = REGION_FEATURES if detects else REGION_FEATURES[:2]
    _expect(asked.features in known, asked.features, f"one of {list(known)} with by: {asked.by}", f"{where}.features")


def _check_grids(grids: list[int], where: str) -> None:
    rising = grids == sorted(set(grids))
    _expect(
        bool(grids) and rising and grids[0] >= 1 and grids[-1] <= FINEST_GRID,
        grids,
        f"sides of grids from 1 to {FINEST_GRID}, each once and rising",
        where,
    )


def _check_keeping(params: Params) -> None:
    """What watches over data and keeps it can be asked for."""
    limit, asked = params.feed.withdrawn_limit, params.drift
    _expect(0 <= limit <= 1, limit, "a share from 0 to 1", "feed.withdrawn_limit")
    _expect(set(asked.limits) == set(DRIFTS), asked.limits, f"a limit for each of {list(DRIFTS)}", "drift.limits")
    _expect(asked.pictures > 0 and asked.partings > 0, asked, "above 0 in pictures and partings", "drift")
    _expect(0 < asked.level <= 1, asked.level, "a quantile above 0, at most 1", "drift.level")
    for name, value in dataclasses.asdict(params.retention).items():
        _expect(value >= 0, value, "0 or more", f"retention.{name}")
    pictures = params.tracking.pictures
    _expect(pictures in PICTURES, pictures, f"one of {list(PICTURES)}", "tracking.pictures")


def _check_runs(params: Params) -> None:
    """The lists of what DVC runs name rows that exist, and patches that agree with the rows."""
    _check_kinds(params, params.run_patches, params.run_regions, ("run_patches", "run_regions"))
    for system in params.run_contrast:
        row(params.contrast, system, "contrast")
    for system in params.run_clip:
        row(params.clip, system, "clip")
    tasks = [f.name for f in dataclasses.fields(Finetune)]
    _expect(set(params.run_tasks) <= set(tasks), params.run_tasks, f"of {tasks}", "run_tasks")
    for name, system_row in params.systems.items():
        _check_system(system_row, f"systems.{name}")
    for system, kind in params.run.items():
        said = row(params.systems, system, "systems").patches
        if kind != said:
            raise ConfigError(f"params.yaml: run.{system} says the patches {kind!r}, its row {said!r}; make them agree")
        if kind not in (*params.run_patches, *params.run_regions):
            raise ConfigError(
                f"params.yaml: {system} reads the patches {kind!r}, which neither run_patches nor run_regions lists"
            )


def _check_kinds(params: Params, grids: list[str], regions: dict[str, str], where: tuple[str, str]) -> None:
    """Kinds of patches are listed where their like are, and those with regions by what they are made from."""
    for kind in grids:
        cut = row(params.patches, kind, "patches").regions is None
        _expect(cut, kind, f"kinds with grids; {where[1]} is for the others", where[0])
    for kind, source in regions.items():
        asked = row(params.patches, kind, "patches").regions
        if asked is None:
            raise ConfigError(f"params.yaml: {where[1]} lists {kind!r}, which has grids; {where[0]} is for those")
        said = "detector" if asked.detector == SCRATCH else "encoder"
        _expect(source == said, source, f"{said!r}, as patches.{kind} is made from it", f"{where[1]}.{kind}")
        learned = said == "encoder" or SCRATCH in params.run_detectors
        _expect(learned, params.run_detectors, f"[{SCRATCH}], whose regions {kind} has", "run_detectors")


def _check_system(asked: System, where: str) -> None:
    """What a row of `systems` says is among what there is."""
    model = asked.model
    _expect(asked.alignment in ALIGNMENTS, asked.alignment, f"one of {list(ALIGNMENTS)}", f"{where}.alignment")
    _expect(asked.weighting in WEIGHTINGS, asked.weighting, f"one of {list(WEIGHTINGS)}", f"{where}.weighting")
    _expect(asked.tags >= 0, asked.tags, "0 or more", f"{where}.tags")
    _expect(model.places in PLACES, model.places, f"one of {list(PLACES)}", f"{where}.model.places")
    _expect(model.streams in (1, 2), model.streams, "1 or 2", f"{where}.model.streams")
    shared = min(model.width, model.heads) > 0 and model.width % model.heads == 0
    _expect(shared, model.width, f"a multiple of the {model.heads} heads", f"{where}.model.width")
    for name, weight in asked.objectives.items():
        _expect(weight >= 0, weight, "0 or more", f"{where}.objectives.{name}")
    known = {"same_subcategory", *(["tags"] if asked.tags else [])}
    given = set(asked.negatives)
    _expect("same_subcategory" in given <= known, asked.negatives, f"shares of {sorted(known)}", f"{where}.negatives")
    for name, share in asked.negatives.items():
        _expect(0 <= share <= 1, share, "a share from 0 to 1", f"{where}.negatives.{name}")
    _check_recipe(asked.training, f"{where}.training")
    for number, phase in enumerate(asked.phases):
        _check_recipe(phase.training, f"{where}.phases[{number}].training")


def _check_training(params: Params) -> None:
    """Every recipe can be followed; `_check_system` looks at those of systems."""
    rows: dict[str, Any] = {name: getattr(params, name) for name in ("encoder", "captioner", "detector")}
    for name in ("contrast", "clip"):
        rows |= {f"{name}.{key}": value for key, value in getattr(params, name).items()}
    rows |= {f"finetune.{field.name}": getattr(params.finetune, field.name) for field in dataclasses.fields(Finetune)}
    for where, table in rows.items():
        _check_recipe(table.training, f"{where}.training")


def _check_recipe(recipe: Training, where: str) -> None:
    _expect(recipe.decay in DECAYS, recipe.decay, f"one of {list(DECAYS)}", f"{where}.decay")
    two = len(recipe.betas) == 2 and all(0 <= beta < 1 for beta in recipe.betas)
    _expect(two, recipe.betas, "two numbers from 0 to below 1", f"{where}.betas")


def _check_detector(params: Params) -> None:
    """The scratch detector can be built, and there is at most one of it."""
    wanted, asked, sizes = params.run_detectors, params.detector, params.detector.sizes
    _expect(wanted in ([], [SCRATCH]), wanted, f"[] or [{SCRATCH}]", "run_detectors")
    whole = len(asked.pixels) == 2 and all(side > 0 and side % COARSEST == 0 for side in asked.pixels)
    _expect(whole, asked.pixels, f"[height, width], multiples of {COARSEST}", "detector.pixels")
    _expect(len(sizes.channels) == 5, sizes.channels, "five numbers", "detector.sizes.channels")
    shared = sizes.heads > 0 and sizes.width % sizes.heads == 0 and sizes.width % 4 == 0
    _expect(shared, sizes.width, f"a multiple of 4 and of the {sizes.heads} heads", "detector.sizes.width")
    for name in ("layers", "queries", "noised"):
        _expect(getattr(sizes, name) > 0, getattr(sizes, name), "above 0", f"detector.sizes.{name}")
    for name in ("products", "cells"):
        _expect(getattr(asked, name) > 0, getattr(asked, name), "above 0", f"detector.{name}")
    _expect(0 <= asked.crop < 0.5, asked.crop, "a share from 0 to below 0.5", "detector.crop")


def _check_towers(params: Params) -> None:
    """Rows of CLIP's family name towers that can be built, and trials rows that exist."""
    twice = sorted(set(params.contrast) & set(params.clip))
    _expect(not twice, twice, "names that `contrast` does not have: a run folder is called by them", "clip")
    for name, towers in params.towers.items():
        one = (towers.start is None) != (towers.sizes is None)
        _expect(one, towers, "with `start` or `sizes`, one of them", f"towers.{name}")
        if towers.sizes is not None:
            pixels, patch = towers.sizes.pixels, towers.sizes.patch
            whole = len(pixels) == 2 and patch > 0 and all(side >= patch and side % patch == 0 for side in pixels)
            _expect(whole, pixels, f"[height, width], multiples of the patch of {patch}", f"towers.{name}.sizes.pixels")
    for clip in params.clip.values():
        row(params.towers, clip.towers, "towers")
    asked = params.trials
    given = [value for value in (asked.minutes, asked.steps) if value is not None]
    _expect(len(given) == 1 and given[0] > 0, given, "minutes or steps, one of them, above 0", "trials")
    _expect(len(set(asked.seeds)) == len(asked.seeds) > 0, asked.seeds, "different numbers", "trials.seeds")
    _expect(asked.looks > 0, asked.looks, "above 0", "trials.looks")
    for name in asked.rows:
        dual(params, name)
    _expect(asked.against in asked.rows, asked.against, f"one of its rows {asked.rows}", "trials.against")


def dual(params: Params, name: str) -> Any:
    """One row of a dual encoder, of whichever family: a Contrast or a Clip."""
    return row({**params.contrast, **params.clip}, name, "contrast or clip")


def recaller(params: Params, name: str) -> Any:
    """One row that can recall: a Contrast, a Clip, or Towers that start from a checkpoint and are used as they are."""
    ready = {name: towers for name, towers in params.towers.items() if towers.start is not None}
    return row({**ready, **params.contrast, **params.clip}, name, "contrast, clip or towers with `start`")


def _check_search(params: Params) -> None:
    """What is searched by can be built, and asked for."""
    asked = params.search
    recaller(params, asked.recall)
    if asked.rerank is not None:
        row(params.systems, asked.rerank, "systems")
    taught, wanted = [*params.run_contrast, *params.run_clip], params.run_search
    _expect(set(wanted) <= set(taught), list(wanted), f"of run_contrast and run_clip {taught}", "run_search")
    for recall, rerank in wanted.items():
        tuned = rerank in params.run and "retrieval" in params.run_tasks and rerank == asked.rerank
        _expect(tuned, rerank, "search.rerank, and in `run` and fine-tuned for retrieval", f"run_search.{recall}")
    _expect(asked.first > 0, asked.first, "above 0", "search.first")
    _expect(asked.cosine is None or asked.cosine >= 0, asked.cosine, "0 or more, or null", "search.cosine")
    _expect(0 <= asked.text <= 1, asked.text, "a share from 0 to 1", "search.text")
    index = asked.index
    _expect(index.above in INDICES, index.above, f"one of {list(INDICES)}", "search.index.above")
    _expect(0 < index.probed <= 1, index.probed, "a share above 0, at most 1", "search.index.probed")
    for name in ("lists", "links", "built", "breadth"):
        _expect(getattr(index, name) > 0, getattr(index, name), "above 0", f"search.index.{name}")


def _check_gate(gate: Gate) -> None:
    """What would open or shut the gate for every system is a mistake."""
    _expect(gate.split in ("val", "test"), gate.split, "val or test, which nothing was trained on", "gate.split")
    for name in ("queries", "candidates", "least_slice"):
        _expect(getattr(gate, name) > 0, getattr(gate, name), "above 0", f"gate.{name}")
    for name in ("least_gain", "worst", "worst_slice"):
        _expect(0 <= getattr(gate, name) < 1, getattr(gate, name), "a share from 0 to below 1", f"gate.{name}")
    columns = ("category", "sub_category")
    for name in gate.slices:
        known = name in columns or name.startswith("attributes.")
        _expect(known, name, f"attributes.x or one of {list(columns)}", "gate.slices")


def _check_study(params: Params, study: str) -> None:
    """Every column can be built, and what DVC has to know beforehand agrees with the rows."""
    asked: Study = getattr(params, study)
    given = [value for value in (asked.minutes, asked.steps) if value is not None]
    _expect(len(given) == 1 and given[0] > 0, given, "minutes or steps, one of them, above 0", study)
    _expect(len(set(asked.seeds)) == len(asked.seeds) > 0, asked.seeds, "different numbers", f"{study}.seeds")
    examined_by(params, study, asked.seeds[0])
    _check_tasks(params, study)
    said = row(params.systems, asked.base, "systems").patches
    _expect(
        asked.base_patches == said,
        asked.base_patches,
        f"{said!r}, as systems.{asked.base} says",
        f"{study}.base_patches",
    )
    for name in asked.table:
        # The item `B-1` is the column B with seed 1, and `comparison.B` is one of another study.
        allowed = re.fullmatch(r"[\w+-]+", name) and not re.search(r"-\d+$", name)
        what = "of letters, digits, _, + and -, without a - before a last number"
        _expect(bool(allowed), name, what, f"{study}.table")
        made_of = column(params, f"{study}.{name}")
        _check_system(made_of, f"{study}.table.{name}")
        earlier = [phase.build for phase in made_of.phases]
        _expect(not earlier, earlier, "[], as its budget is one of steps", f"{study}.table.{name}.phases")
    _check_kinds(params, asked.patches, asked.regions, (f"{study}.patches", f"{study}.regions"))
    studies: dict[str, Study] = {name: getattr(params, name) for name in STUDIES}
    of_studies = {name: [*each.patches, *each.regions] for name, each in studies.items()}
    made = [*params.run_patches, *params.run_regions]
    made += [kind for name, kinds in of_studies.items() if name != study for kind in kinds]
    twice = sorted(set(of_studies[study]) & set(made))
    what = "kinds that run_patches, run_regions and other studies do not list: DVC makes each of them once"
    _expect(not twice, twice, what, f"{study}.patches")
    for name, kind in asked.columns.items():
        said = column(params, f"{study}.{name}").patches
        _expect(kind == said, kind, f"the patches of that column, {said!r}", f"{study}.columns.{name}")
        known = [*made, *of_studies[study]]
        _expect(kind in known, kind, f"listed by run_patches or {study}.patches {known}", f"{study}.columns.{name}")


def _check_tasks(params: Params, study: str) -> None:
    asked, known = getattr(params, study), list(STUDIES[study])
    for name in ("tasks", "once"):
        tasks = getattr(asked, name)
        what = f"of {known if name == 'tasks' else asked.tasks}, each once"
        known_here = set(known) if name == "tasks" else set(asked.tasks)
        _expect(len(set(tasks)) == len(tasks) and set(tasks) <= known_here, tasks, what, f"{study}.{name}")
    what = "without retrieval, whose ranks are compared over all seeds"
    _expect("retrieval" not in asked.once, asked.once, what, f"{study}.once")
    changed = sorted(asked.finetune)
    _expect(set(changed) <= set(known), changed, f"a table with keys of {known}", f"{study}.finetune")
    taught_by(params, study)


def of_study(name: str) -> tuple[str, str]:
    """The study of a column or a run, and what it is called there: comparison.oscar-1 -> comparison, oscar-1."""
    study, _, rest = name.rpartition(".")
    if study and study not in STUDIES:
        raise ConfigError(f"{name!r} is of no study; there are {list(STUDIES)}")
    return study or "ablation", rest


def column(params: Params, name: str) -> System:
    """The row of one column of a study (`B+I`, `comparison.oscar`), with the values that it puts in place of others."""
    study, rest = of_study(name)
    asked = getattr(params, study)
    changes = dict(row(asked.table, rest, f"{study}.table"))
    base = dataclasses.asdict(row(params.systems, changes.pop("system", asked.base), "systems"))
    system: System = build(System, {**base, **changes}, f"{study}.table.{rest}")
    return system


def ranked_by(params: Params, study: str) -> Evaluate:
    """How the runs of a study are evaluated."""
    differs = getattr(params, study).evaluate
    asked: Evaluate = build(Evaluate, {**dataclasses.asdict(params.evaluate), **differs}, f"{study}.evaluate")
    return asked


def examined_by(params: Params, study: str, seed: int) -> Evaluate:
    """How the tasks of the runs of one seed are examined."""
    asked, ranked = getattr(params, study), ranked_by(params, study)
    differs = asked.evaluate_once if seed == asked.seeds[0] else {}
    found: Evaluate = build(Evaluate, {**dataclasses.asdict(ranked), **differs}, f"{study}.evaluate_once")
    return found


def taught_by(params: Params, study: str) -> Finetune:
    """How the tasks are learned from the runs of a study."""
    table = dataclasses.asdict(params.finetune)
    for task, changes in getattr(params, study).finetune.items():
        training = changes.get("training", {})
        _expect(isinstance(training, dict), training, "a table", f"{study}.finetune.{task}.training")
        table[task] |= {**changes, "training": {**table[task]["training"], **training}}
    asked: Finetune = build(Finetune, table, f"{study}.finetune")
    return asked


def asked_of_tasks(params: Params, study: str, seed: int) -> dict[str, Any]:
    """How the tasks of a run are learned and examined, the same for every run of the seed, as their cards say it."""
    recipes = dataclasses.asdict(taught_by(params, study))
    return {
        "recipes": {task: recipes[task] for task in tasks_of(params, study, seed)},
        "evaluate": dataclasses.asdict(examined_by(params, study, seed)),
    }


def tasks_of(params: Params, study: str, seed: int) -> list[str]:
    """The tasks that the runs of one seed are fine-tuned for."""
    asked: Study = getattr(params, study)
    return [task for task in asked.tasks if task not in asked.once or seed == asked.seeds[0]]


def recipe(params: Params, task: str) -> Any:
    """How one downstream task is learned."""
    tasks = {f.name: getattr(params.finetune, f.name) for f in dataclasses.fields(Finetune)}
    return row(tasks, task, "finetune")


def with_steps(table_row: Row, steps: int) -> Row:
    """The row with a training of so many steps, however many products there are."""
    training = dataclasses.replace(table_row.training, epochs=0.0, least_steps=steps)
    return dataclasses.replace(table_row, training=training)


def row(table: Mapping[str, Any], name: str, where: str) -> Any:
    """One row of a table of params.yaml, or a sentence that lists the rows there are."""
    if name not in table:
        raise ConfigError(f"params.yaml has no row {name!r} under {where}; there are {sorted(table)}")
    return table[name]


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain YAML into `kind`, checking every key and every type on the way."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_row(kind, value, where)
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return build(arguments[0], value, where)
    if origin is list:
        _expect(isinstance(value, list), value, "a list", where)
        return [build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, "a table", where)
        return {key: build(arguments[1], item, _join(where, key)) for key, item in value.items()}
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(number, value, "a number (write 0.0005 rather than 5e-4)", where)
        return float(value)
    _expect(type(value) is kind, value, f"of type {kind.__name__}", where)
    return value


def _build_row(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, "a table", where)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise ConfigError(f"params.yaml: unknown key {_join(where, unknown[0])!r}; here are allowed {sorted(fields)}")
    optional = {
        name
        for name, f in fields.items()
        if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
    }
    missing = sorted(set(fields) - set(value) - optional)
    if missing:
        raise ConfigError(f"params.yaml: the key {_join(where, missing[0])!r} is missing")
    return kind(**{name: build(hints[name], item, _join(where, name)) for name, item in value.items()})


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _expect(holds: bool, value: Any, what: str, where: str) -> None:
    if not holds:
        raise ConfigError(f"params.yaml: {where} must be {what}, not {value!r}")
