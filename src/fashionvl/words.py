"""Words: WordPiece learned from the training texts, or a tokenizer given by name (Kaleido-BERT section 3.5).

A text is `[CLS] w1 ... wn [SEP] [PAD] ...` in a fixed number of slots (64), lower-cased.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fashionvl.catalogue.problems import Problem

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NO_WORD = -1
MOST_LETTERS = 1000  # of an alphabet; a text in another script may hold more


@dataclass(frozen=True)
class Texts:
    """Encoded texts.

    ids    (N, T) int64   word-piece ids, `pad` behind the end
    whole  (N, T) int64   the number of the word a piece belongs to, NO_WORD at [CLS], [SEP] and padding
    """

    ids: Tensor
    whole: Tensor


@dataclass(frozen=True)
class Words:
    """A WordPiece vocabulary and the number of slots a text has."""

    tokenizer: Tokenizer
    slots: int

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.get_vocab_size()

    def id_of(self, piece: str) -> int:
        """The id of one piece, e.g. "[MASK]"; a piece that is not there is a Problem."""
        number = self.tokenizer.token_to_id(piece)
        if number is None:
            raise Problem(f"the tokenizer has no {piece!r}; it must be a BERT-like WordPiece with {', '.join(SPECIAL)}")
        return number

    @property
    def pad(self) -> int:
        return self.id_of("[PAD]")

    @property
    def mask(self) -> int:
        return self.id_of("[MASK]")

    def special(self) -> list[int]:
        """The ids that are never hidden, never drawn as a random word and never counted as a word."""
        return [self.id_of(piece) for piece in SPECIAL]

    def encode(self, texts: Sequence[str]) -> Texts:
        """Cut texts into word pieces; what does not fit into the slots is cut off before [SEP]."""
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded], dtype=np.int64).reshape(len(encoded), self.slots)
        whole = [[NO_WORD if word is None else word for word in e.word_ids] for e in encoded]
        return Texts(
            torch.from_numpy(ids), torch.from_numpy(np.array(whole, dtype=np.int64).reshape(len(encoded), self.slots))
        )

    def whole_words(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text that fit whole into its slots, lower-cased; word i is what `Texts.whole` calls i."""
        encoded = self.tokenizer.encode_batch(list(texts))
        return [self._whole_words(text, found) for text, found in zip(texts, encoded, strict=True)]

    def _whole_words(self, text: str, found: Encoding) -> list[str]:
        spans: dict[int, tuple[int, int]] = {}
        for number, (start, stop) in zip(found.word_ids, found.offsets, strict=True):
            if number is not None:
                spans[number] = spans.get(number, (start, stop))[0], stop
        if found.overflowing:  # the first word that did not fit may have left some pieces inside
            spans.pop(next(number for number in found.overflowing[0].word_ids if number is not None), None)
        return [self.tokenizer.normalizer.normalize_str(text[start:stop]).strip() for start, stop in spans.values()]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a row of ids, special pieces left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def save(self, folder: Path) -> None:
        """Write a tokenizer folder that `transformers` reads too."""
        fast = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            eos_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=self.slots,
        )
        fast.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path) -> "Words":
        """Read the folder that the stage `words` wrote."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise Problem(f"{path} does not exist; run the stage `words` (`dvc repro words`)")
        tokenizer = Tokenizer.from_file(str(path))
        assert tokenizer.padding is not None, "it was saved with its padding"
        return cls(tokenizer, tokenizer.padding["length"])


def learn(texts: Iterable[str], *, vocabulary: int, slots: int) -> Words:
    """Learn a WordPiece vocabulary of at most this many pieces (fewer when the texts hold fewer).

    The trainer numbers the characters inside words in the order of a hash table, which differs from run to run and
    breaks ties with it; naming them first, in order, makes the vocabulary a function of the texts.
    """
    normalizer, cutter = BertNormalizer(lowercase=True), BertPreTokenizer()
    texts = [normalizer.normalize_str(text) for text in texts]
    letters = Counter(letter for text in texts for word, _ in cutter.pre_tokenize_str(text) for letter in word)
    alphabet = sorted(letter for letter, _ in sorted(letters.items(), key=lambda x: (-x[1], x[0]))[:MOST_LETTERS])
    first = [*SPECIAL, *alphabet, *("##" + letter for letter in alphabet)]
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = cutter
    trainer = WordPieceTrainer(
        vocab_size=max(vocabulary, len(first)), min_frequency=2, special_tokens=first, show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer(WordPiece(trained.get_vocab(), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, cutter, WordPieceDecoder()
    tokenizer.add_special_tokens(list(SPECIAL))
    number = Words(tokenizer, slots).id_of
    tokenizer.post_processor = BertProcessing(("[SEP]", number("[SEP]")), ("[CLS]", number("[CLS]")))
    return _with_slots(tokenizer, slots)


def named(source: str, *, slots: int) -> Words:
    """A BERT tokenizer from a local folder or, if downloads are allowed, from the hub."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Problem(
            f"words.source is {source!r}, which is neither `learned` nor a tokenizer folder or hub name ({reason})"
        ) from None
    return _with_slots(tokenizer.backend_tokenizer, slots)


def _with_slots(tokenizer: Tokenizer, slots: int) -> Words:
    words = Words(tokenizer, slots)
    words.special()
    if tokenizer.encode("a").ids[:1] != [words.id_of("[CLS]")]:
        raise Problem("the tokenizer does not put [CLS] in front of a text; it must be a BERT-like WordPiece")
    tokenizer.enable_truncation(slots)
    tokenizer.enable_padding(length=slots, pad_id=words.pad, pad_token="[PAD]")
    return words


def rarity_of(ids: Tensor, *, vocabulary: int, never: list[int]) -> Tensor:
    """Inverse document frequency of every word piece.

    ids    (N, T) int64   the training texts
    never  pieces that never count
    -> (vocabulary,) float   log of (texts + 1) / (texts that hold the piece + 1); 0 for what never counts
    """
    holds = torch.zeros(vocabulary)
    for row in ids:
        holds[row.unique()] += 1
    rarity = ((len(ids) + 1) / (holds + 1)).log()
    rarity[torch.tensor(never, dtype=torch.int64)] = 0
    return rarity
