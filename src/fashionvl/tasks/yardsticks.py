"""What a model has to beat: the most common class, a bag of words with a linear layer, and the nearest small pictures.

Each learns from the training split and says a label of every row; arrays and texts in, labels out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

YARDSTICKS = ("majority", "tfidf", "pixels")
SIZE = (16, 12)  # height, width of the pictures that neighbours are looked for by
NEIGHBOURS = 5

Labels = NDArray[np.object_]


def majority(labels: Labels, rows: int) -> Labels:
    """The most common label (the first by name, of several), said of every row."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return np.full(rows, str(names[counts.argmax()]), dtype=object)


def tfidf(texts: Sequence[str], labels: Labels, asked: Sequence[str]) -> Labels:
    """Words weighed by how rare they are, and a linear support vector machine a class.

    Its settings are fixed: of 12 the best by sub-category on the validation split of a real catalogue. Pairs of words
    beside the words, logistic regression, and other strengths came within a point of it, none above.
    """
    if len(set(labels)) == 1:
        return majority(labels, len(asked))
    line = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC(C=1.0, random_state=0))
    return line.fit(list(texts), labels.astype(str)).predict(list(asked)).astype(object)


def pixels(pictures: NDArray[np.uint8], labels: Labels, asked: NDArray[np.uint8]) -> Labels:
    """The label that most of the five nearest training pictures have, pixel by pixel.

    pictures (n, 16, 12, 3), asked (m, 16, 12, 3)
    """
    near = KNeighborsClassifier(min(NEIGHBOURS, len(pictures)))
    near.fit(_flat(pictures), labels.astype(str))
    return near.predict(_flat(asked)).astype(object)


def _flat(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (pictures.reshape(len(pictures), -1) / 255).astype(np.float32)
