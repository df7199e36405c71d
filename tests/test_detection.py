"""What a detector is asked and told, and how it is measured, on boxes that are known."""

import pandas as pd
import pytest
import torch

from fashionvl.models.detector import Seen
from fashionvl.tasks import cells, detection, precision
from fashionvl.tasks.contrast import Album

PATTERNS = {"striped": ("striped", "stripes"), "starry": ("starry", "stars", "star")}
ROWS = [
    (1, "dress", "mini", 0, 0, 9, 9), (1, "dress", "dress", 0, 0, 9, 9), (1, "dress", "striped", 0, 0, 9, 9),
    (1, "dress", "stripes", 0, 0, 9, 9), (1, "dress", "sleeve", 0, 0, 2, 5), (1, "dress", "sleeves", 0, 0, 2, 5),
    (1, "dress", "sleeve", 7, 0, 9, 5), (1, "dress", "sleeves", 7, 0, 9, 5),
    (0, "mittens", "starry", 1, 1, 8, 8), (0, "mittens", "star", 1, 1, 8, 8), (0, "mittens", "star", 3, 3, 4, 4),
    (0, "mittens", "mittens", 0, 1, 8, 8),
]  # fmt: skip


@pytest.fixture
def table():
    parts = pd.DataFrame(ROWS, columns=["picture", "noun", "word", *detection.CORNERS])
    return detection.named(parts, PATTERNS)


def test_a_box_has_one_name_and_a_pattern_is_no_object(table):
    found = [tuple(row) for row in table.itertuples(index=False)]
    assert found == [
        (0, "star", 3, 3, 4, 4),
        (0, "mittens", 0, 1, 8, 8),
        (1, "dress", 0, 0, 9, 9),
        (1, "sleeve", 0, 0, 2, 5),
        (1, "sleeve", 7, 0, 9, 5),
    ]


def test_rare_names_are_no_classes(table):
    assert detection.classes_of(table["name"], least=2) == ["sleeve"]
    assert detection.classes_of(table["name"], least=1) == ["dress", "mittens", "sleeve", "star"]


@pytest.fixture
def objects(table):
    """Of four pictures of 10 x 10 pixels, two of which show nothing."""
    return detection.objects_of(table, ["dress", "mittens", "sleeve"], torch.full((4, 2), 10))


def test_the_objects_of_some_pictures_are_found_in_their_order(objects):
    rows, owner = objects.of(torch.tensor([1, 3, 0, 1]))
    assert owner.tolist() == [0, 0, 0, 2, 3, 3, 3]
    assert objects.kinds[rows].tolist() == [0, 2, 2, 1, 0, 2, 2]
    assert objects.boxes[rows[3]].tolist() == pytest.approx([0, 0.1, 0.8, 0.8])


def test_a_box_goes_with_what_is_seen_through_its_window():
    windows = torch.tensor([[0.0, 0, 1, 1], [0.5, 0, 1, 1], [1.0, 0, 0, 1], [0.5, 0, 1, 1], [0.5, 0.5, 1.0, 1.0]])
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.6]] * 3 + [[0.25, 0, 0.75, 1], [0.45, 0.45, 0.55, 0.55]])
    seen, shown = detection.through(windows, boxes)
    assert shown.tolist() == [True, False, True, True, False]
    torch.testing.assert_close(seen[0], boxes[0])
    torch.testing.assert_close(seen[2], torch.tensor([0.6, 0.2, 0.9, 0.6]))  # mirrored
    torch.testing.assert_close(seen[3], torch.tensor([0.0, 0, 0.5, 1]))  # cut off at the edge


@pytest.fixture
def desk(objects):
    """White boxes of the class 'mittens' or 'dress' on black."""
    pixels = torch.zeros(4, 20, 20, 3, dtype=torch.uint8)
    pixels[0, 2:16, 0:16] = 255
    pixels[1, 0:18, 0:18] = 255
    return detection.Desk(Album(pixels, torch.arange(4)), objects, 16, 16, 0.1, True)


def test_a_question_is_a_function_of_the_step_and_its_boxes_lie_where_the_object_is_seen(desk):
    def chance(*numbers):
        return torch.Generator().manual_seed(hash(numbers) % 1000)

    draw = detection.drawing(desk, batch=4, chance=chance)
    for step in range(8):
        question, again = draw(step, 0, 1), detection.drawing(desk, batch=4, chance=chance)(step, 0, 1)
        assert torch.equal(question.pictures, again.pictures)
        assert torch.equal(question.boxes, again.boxes)
        assert question.counts["classes"] == len(question.boxes) == len(question.owner)
        for box, kind, owner in zip(question.boxes * 16, question.kinds, question.owner, strict=True):
            if kind == 2:
                continue
            left, top, right, bottom = box.round().int().tolist()
            bright = question.pictures[owner, 0] > 127
            inside = bright[top:bottom, left:right]
            assert inside.float().mean() > 0.85
            assert bright.sum() <= inside.sum() * 1.2


def test_parts_of_a_batch_are_the_batch(desk):
    def chance(*numbers):
        return torch.Generator().manual_seed(numbers[-1])

    draw = detection.drawing(desk, batch=4, chance=chance)
    assert sum(len(draw(3, part, 2).pictures) for part in range(2)) == 4


def test_labels_say_whose_objects_they_are(desk):
    question = detection.ask(desk, torch.tensor([2, 1, 0]), generator=torch.Generator().manual_seed(0))
    labels = detection.labels_of(question)
    assert len(labels[0]["class_labels"]) == 0
    assert labels[2]["class_labels"].tolist() == [1]
    x, y, width, height = labels[2]["boxes"][0]
    torch.testing.assert_close(
        torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2]),
        question.boxes[question.owner == 2][0],
    )


@pytest.fixture
def told():
    """One large and one tiny object, on a picture of 64 x 64; boxes of cells are those of the cells themselves."""
    maps = cells.cells_of(64, 64, (8, 16, 32))
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.7, 0.7, 0.73, 0.74]])
    truth = cells.Truth.of(boxes, torch.tensor([1, 0]), torch.tensor([0, 0]), pictures=2)
    return maps, truth, torch.full((2, len(maps), 3), -2.0)


def test_the_cells_of_a_picture_cover_it_once_for_each_map(told):
    maps = told[0]
    assert len(maps) == 64 + 16 + 4
    assert cells.area(maps).sum() == pytest.approx(3)
    assert maps[1].tolist() == [0.125, 0, 0.25, 0.125]


def test_an_object_is_told_to_the_few_cells_that_fit_it_best(told):
    maps, truth, logits = told
    owner, worth = cells.told(logits, maps.expand(2, -1, -1), truth, maps, most=3)
    assert (worth[1] == 0).all()  # nothing is in the second picture
    large, tiny = ((worth[0] > 0) & (owner[0] == slot) for slot in (0, 1))
    assert large.sum() == 3
    assert 1 <= tiny.sum() <= 3
    assert worth[0, 64 + 16].item() == pytest.approx(1)  # the cell that is the large object
    assert worth[0].argmax() == 64 + 16
    assert cells.touching(truth.boxes[:1], maps)[0, 1][tiny].all()


def test_of_equal_boxes_the_cell_that_finds_the_class_fits_better(told):
    maps, truth, logits = told
    boxes = torch.tensor([0.0, 0.0, 0.5, 0.5]).expand(2, len(maps), 4)
    logits[0, 3, 1] = 5.0
    worth = cells.told(logits, boxes, truth, maps, most=3)[1]
    assert worth[0].argmax() == 3


def test_cells_that_say_the_truth_lose_least(told):
    maps, truth, logits = told
    boxes = maps.expand(2, -1, -1)
    owner, worth = cells.told(logits, boxes, truth, maps, most=3)
    right = torch.where(worth[..., None] > 0, truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4)), boxes)
    sides = cells.losses_of(logits, boxes, truth, maps, most=3)[1]
    assert cells.losses_of(logits, right, truth, maps, most=3)[1] < 0.1 * sides
    quiet = torch.full_like(logits, -8.0)
    nothing = cells.Truth(*(part[1:] for part in vars(truth).values()))
    assert cells.losses_of(quiet, boxes, truth, maps, most=3)[0] > 2  # silence about what is there costs
    assert cells.losses_of(quiet[1:], boxes[1:], nothing, maps, most=3)[0] < 1e-3


def test_overlap_is_one_where_boxes_are_equal_and_below_zero_where_they_are_apart():
    box, apart = torch.tensor([[0.1, 0.1, 0.3, 0.5]]), torch.tensor([[0.6, 0.6, 0.9, 0.9]])
    assert cells.generalised_overlap(box, box).item() == pytest.approx(1)
    assert -1 <= cells.generalised_overlap(box, apart).item() < 0
    half = torch.tensor([[0.1, 0.1, 0.3, 0.3]])
    assert cells.overlaps(box[None], torch.stack([half, box, apart], dim=1))[0, 0].tolist() == pytest.approx(
        [0.5, 1, 0]
    )


SIZES = torch.tensor([[192, 256], [192, 256], [100, 50]])
TRUTH = [
    (torch.tensor([[0.1, 0.1, 0.9, 0.9], [0.4, 0.4, 0.5, 0.5]]), torch.tensor([0, 2])),
    (torch.tensor([[0.2, 0.2, 0.7, 0.8]]), torch.tensor([0])),
    (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
]


def judged(found):
    return precision.average_precision(found, TRUTH, SIZES, ["shirt", "never", "button"])


def test_the_truth_given_back_is_perfect_and_nothing_finds_nothing():
    perfect = judged([(boxes, kinds, torch.ones(len(kinds))) for boxes, kinds in TRUTH])
    assert perfect.means == pytest.approx({"mAP": 1.0, "mAP50": 1.0, "mAP75": 1.0})
    assert perfect.classes == pytest.approx({"shirt": 1.0, "button": 1.0})
    nothing = judged([(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))] * 3)
    assert nothing.means == {"mAP": 0.0, "mAP50": 0.0, "mAP75": 0.0}


def test_a_box_that_covers_some_three_fifths_counts_at_low_overlaps_only():
    def cut(boxes):
        return torch.cat([boxes[:, :3], boxes[:, 1:2] + 0.62 * (boxes[:, 3:] - boxes[:, 1:2])], dim=1)

    loose = judged([(cut(boxes), kinds, torch.ones(len(kinds))) for boxes, kinds in TRUTH])
    assert loose.means == pytest.approx({"mAP": 0.3, "mAP50": 1.0, "mAP75": 0.0})


@pytest.mark.parametrize(("sure", "expected"), [(0.1, 1.0), (0.9, 2 / 3)])
def test_a_wrong_answer_costs_where_it_is_surer_than_the_right_ones(sure, expected):
    found = [(boxes, kinds, torch.full((len(kinds),), 0.5)) for boxes, kinds in TRUTH]
    found[2] = (torch.tensor([[0.0, 0.0, 0.05, 0.05]]), torch.tensor([0]), torch.tensor([sure]))
    assert judged(found).classes == pytest.approx({"shirt": expected, "button": 1.0})


def test_a_query_answers_for_every_class_and_the_surest_come_first():
    seen = Seen(
        torch.arange(8.0).view(1, 2, 4) / 8,
        torch.tensor([[[0.9, 0.1], [0.4, 0.6]]]),
        torch.tensor([[0.5, 1.0]]),
        torch.zeros(1, 2, 3),
    )
    boxes, kinds, scores = precision.surest(seen)
    assert scores[0].tolist() == pytest.approx([0.6, 0.45, 0.4, 0.05])
    assert kinds[0].tolist() == [1, 0, 0, 1]
    assert torch.equal(boxes[0, 0], seen.boxes[0, 1])
    assert torch.equal(boxes[0, 1], seen.boxes[0, 0])
