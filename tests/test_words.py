import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fashionvl import words
from fashionvl.catalogue.problems import Problem
from fashionvl.words import NO_WORD, Words

TEXTS = ["Wide-leg jeans in navy.", "Soft jersey top with a round neckline", "Jeans jacket in washed denim"] * 4


@pytest.fixture
def learned():
    return words.learn(TEXTS, vocabulary=200, slots=12)


def test_a_text_is_cls_words_sep_padding(learned):
    ids = learned.encode(["jeans in navy"]).ids[0].tolist()
    end = ids.index(learned.id_of("[SEP]"))
    assert ids[0] == learned.id_of("[CLS]")
    assert ids[end + 1 :] == [learned.pad] * (12 - end - 1)
    assert learned.decode(ids) == "jeans in navy"


def test_a_long_text_is_cut_before_sep(learned):
    ids = learned.encode(["jeans " * 40]).ids[0]
    assert ids.shape == (12,)
    assert ids[-1] == learned.id_of("[SEP]")


def test_pieces_of_one_word_share_its_number(learned):
    encoded = learned.encode(["jeanstop in"])
    whole, real = encoded.whole[0], encoded.ids[0] != learned.pad
    assert whole[0] == NO_WORD
    numbers = whole[real][1:-1]
    assert (numbers[:-1] == 0).all()
    assert numbers[-1] == 1
    assert len(numbers) > 2  # the first word is in pieces
    assert (whole[~real] == NO_WORD).all()


def test_an_empty_text_is_its_ends(learned):
    encoded = learned.encode([""])
    assert (encoded.ids[0] != learned.pad).sum() == 2
    assert (encoded.whole == NO_WORD).all()


def test_the_folder_is_read_back_and_transformers_reads_it_too(learned, tmp_path):
    learned.save(tmp_path)
    loaded = Words.load(tmp_path)
    assert torch.equal(loaded.encode(TEXTS).ids, learned.encode(TEXTS).ids)
    assert AutoTokenizer.from_pretrained(tmp_path)("jeans in navy", padding="max_length").input_ids[:2] == (
        learned.encode(["jeans in navy"]).ids[0, :2].tolist()
    )


def test_learning_twice_gives_the_same_vocabulary(learned):
    for _ in range(5):
        again = words.learn(TEXTS, vocabulary=200, slots=12)
        assert again.tokenizer.get_vocab() == learned.tokenizer.get_vocab()


def test_a_named_tokenizer_is_loaded_from_its_folder(learned, tmp_path):
    learned.save(tmp_path)
    assert words.named(str(tmp_path), slots=12).vocabulary == learned.vocabulary


def test_a_tokenizer_that_is_not_there_or_no_bert_is_a_sentence(tmp_path):
    with pytest.raises(Problem, match="neither `learned` nor a tokenizer folder"):
        words.named(str(tmp_path / "nothing"), slots=12)
    with pytest.raises(Problem, match="run the stage `words`"):
        Words.load(tmp_path)
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a"))).save_pretrained(tmp_path)
    with pytest.raises(Problem, match="must be a BERT-like WordPiece"):
        words.named(str(tmp_path), slots=12)


def test_word_i_is_the_one_whose_pieces_are_numbered_i(learned):
    texts = ["Jeans, in NAVY cottón!", "日本 jeans", "", *TEXTS]
    whole = learned.encode(texts).whole
    for text, row, said in zip(texts, whole, learned.whole_words(texts), strict=True):
        assert len(said) <= row.max() + 1
        assert [word for word in said if word] == said
        assert "".join(said) == "".join(text.split()).lower().replace("ó", "o")[: len("".join(said))]


def test_a_word_that_does_not_fit_whole_is_left_out(learned):
    full = "jeans " * 9
    assert learned.whole_words([full + "jeans"]) == [["jeans"] * 10]
    assert learned.whole_words([full + "jeanstop"]) == [["jeans"] * 9]  # its first piece would fit
    assert learned.whole_words([full + "jeans navy"]) == [["jeans"] * 10]
