"""Reading on with the single-stream encoder: what it has read stays read, so that one more word costs one row a layer.

For texts that are said word by word (captioning, `causal`): [CLS] and the patches look at each other once, a word looks
at them and at the words before it. The keys and values of every layer are kept.
"""

import torch
from torch import Tensor

from fashionvl.models.attention import attend
from fashionvl.models.layer import Layer
from fashionvl.models.single_stream import SingleStream, stream_dtype


class Reading:
    """What one encoder has read of some pictures.

    cls     (B, C) float   the states of [CLS], which has seen the patches
    length                 how many tokens were read of each picture
    """

    def __init__(self, model: SingleStream, cls: Tensor, patches: Tensor, shown: Tensor, *, words: int):
        """Read [CLS] and the patches of each picture.

        cls     (B, 1) int64      the piece [CLS]
        patches (B, P, C) float   embedded
        shown   (B, P) bool       True where a patch stands
        words                     how many will be read besides, at most
        """
        self.model, self.length = model, 0
        self.room = 1 + patches.shape[1] + words
        self.memory: list[tuple[Tensor, Tensor]] = []  # (B, H, room, d) keys and values of each layer
        shown = torch.cat([torch.ones_like(shown[:, :1]), shown], dim=1)
        first = model.meet(model.words(cls), patches, shown)
        self.told = None if model.glance is None else model.glance(patches, shown[:, 1:])
        kind = stream_dtype(first)
        self.cls = self._read(torch.cat([first.to(kind), patches.to(kind)], dim=1), shown)[:, 0]

    def on(self, words: Tensor, slot: int, shown: Tensor) -> Tensor:
        """Read a few words more of every picture; they are kept in the order in which they are read.

        words (B, Q) int64    word pieces that all stand in one slot of their texts, `slot`
        shown (B, Q, S) bool  True where a word may look at one of the S tokens read so far, these Q the last of them
        -> (B, Q, C)   their states
        """
        embedded = self.model.words(words.reshape(-1, 1), slot).view(*words.shape, -1)
        embedded = embedded if self.told is None else embedded + self.told
        return self._read(embedded.to(stream_dtype(embedded)), shown)

    def _read(self, x: Tensor, shown: Tensor) -> Tensor:
        """x (B, Q, C), shown (B, S) or (B, Q, S) bool, True where a token may be looked at -> (B, Q, C)"""
        stop = self.length + x.shape[1]
        for number, layer in enumerate(self.model.layers):
            assert isinstance(layer, Layer), "the encoder is made of them"
            q, k, v = layer.split(x)
            if number == len(self.memory):
                shape = (len(x), layer.heads, self.room, q.shape[-1])
                self.memory.append((k.new_empty(shape), v.new_empty(shape)))
            keys, values = self.memory[number]
            keys[:, :, self.length : stop], values[:, :, self.length : stop] = k, v
            looked = attend(q, keys[:, :, :stop], values[:, :, :stop], shown=shown, share=0.0, training=False)
            x = layer.update(x, looked)
        self.length = stop
        return x
