"""Encoders of texts of the library sentence-transformers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ids_and_mask, padded
from mygo.encoders.protocol import EncoderRequest, InputKind
from mygo.encoders.weights import needs, unreachable
from mygo.errors import InputError

ORGANISATION = "sentence-transformers"


@dataclass(frozen=True, kw_only=True)
class LibraryTokens:
    """A text becomes token ids, by the tokenizer that a model of the library brings along."""

    kind: ClassVar[InputKind] = "text"
    tokenizer: Any
    max_length: int
    prompt: str
    """Put before every text, as the model was trained with."""

    def __call__(self, text: str, /) -> Tensor:
        """Return the ids int64 [L] of ``text``."""
        found = self.tokenizer(self.prompt + text.strip(), truncation=True, max_length=self.max_length)
        return torch.tensor(found["input_ids"], dtype=torch.int64)

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """Return ids [N, L], filled up to the longest."""
        return padded(items)

    def inputs(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids and mask, int64 [N, L]."""
        return ids_and_mask(batch)

    def settings(self) -> dict[str, Any]:
        """Return the settings, and of the tokenizer its vocabulary and how it makes words out of a text."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        how = sorted(self.tokenizer.get_vocab().items()) if backend is None else backend.to_str()
        return {"max_length": self.max_length, "prompt": self.prompt, "tokenizer": how}

    def probe(self, count: int) -> Tensor:
        """Return texts of one word."""
        return self.collate([self("word")] * count)


class SentenceNetwork(nn.Module):
    """The modules of a model of the library, called with ids and mask."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features [N, D] for token ``ids`` int64 [N, L], of which those count where ``mask`` is 1."""
        features: Tensor = self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
        return features


def sentence_model(request: EncoderRequest) -> FrozenEncoder:
    """Return ``sentence-transformers/NAME``: a model of the library, from a folder, the cache or the hub.

    NAME is a folder, OWNER/NAME on the hub, or a NAME of the library's own. No code of a model is run.

    Raises:
        InputError: the library is missing, or the model is not to be had or damaged.
    """
    import mygo.data.torchvision_shim  # noqa: F401, transformers imports torchvision

    needs(request.name, "sentence_transformers", "text")
    if request.weights is not None and not request.weights.is_dir():
        raise InputError(f"--encoder-weights {request.weights} is not a folder, as {request.name} has its weights in.")
    model = _opened(request)
    prompt = model.prompts.get(model.default_prompt_name) or ""
    limit = model.max_seq_length or model.tokenizer.model_max_length
    preprocessing = LibraryTokens(tokenizer=model.tokenizer, max_length=limit, prompt=prompt)
    return FrozenEncoder(request.name, SentenceNetwork(model), preprocessing, precision=request.precision)


def _opened(request: EncoderRequest) -> Any:
    from huggingface_hub import constants
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = str(request.weights or request.rest)
    is_local = Path(place).is_dir()
    if not is_local and "/" not in place:
        place = f"{ORGANISATION}/{place}"
    options = {"device": "cpu", "trust_remote_code": False}
    cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME", constants.HF_HUB_CACHE)
    try:
        return SentenceTransformer(place, local_files_only=True, **options)
    except Exception as error:  # whatever a model that is not there, or not whole, makes the library raise
        reason = None if is_local else unreachable(constants.ENDPOINT)
        if constants.HF_HUB_OFFLINE:
            reason = "HF_HUB_OFFLINE is set"
        if is_local:
            message = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise InputError(
                f"{place} is not a model of sentence-transformers that can be opened ({message})."
            ) from error
    if reason is None:
        try:
            return SentenceTransformer(place, **options)
        except Exception as error:  # the same, of a hub besides
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    raise InputError(
        f"--encoder {request.name}: {place} is not in {cache} and cannot be downloaded ({reason}): connect to the "
        "network once, or pass --encoder-weights with a folder that holds the model."
    )
