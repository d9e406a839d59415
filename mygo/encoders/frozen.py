"""An encoder made of a network in PyTorch and a preprocessing."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mygo.config.learner import Precision
from mygo.encoders.preprocessing import Preprocessing
from mygo.encoders.protocol import InputKind
from mygo.errors import InputError

PROBED = 2
"""Inputs that a network is tried with to find out what it returns."""


class FrozenEncoder(nn.Module):
    """A ``network`` that maps what its preprocessing returns to features [N, D]; it is neither trained nor changed.

    As a module it maps a batch of `collate` to features, with normalisation inside, so it can be exported as it is.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        precision: Precision = "float32",
        fused: nn.Module | None = None,
        feature_dim: int | None = None,
        checksum: str | None = None,
        square_roots: bool = False,
    ) -> None:
        """Make an encoder.

        Args:
            name: as ``--encoder`` names it.
            network: maps what ``preprocessing.inputs`` returns to features [N, D]; float32.
            preprocessing: what belongs to the network, such as an `ImagePreprocessing`.
            precision: bfloat16 lets `encode` multiply in it where PyTorch's autocast does.
            fused: computes what ``network`` does, faster; used in its place.
            feature_dim: D; without it the network is tried.
            checksum: of the weights; without it, they are those of ``network``.
            square_roots: return the square roots of features that are never negative, as behind a ReLU: these are more
                like Gaussians (Tukey's ladder of powers, as Yang et al. 2021, arXiv:2101.06395, use it).

        Raises:
            InputError: the network does not return features [N, D].
        """
        super().__init__()
        self.name = name
        self.network = network
        self.preprocessing = preprocessing
        self.precision = precision
        self.square_roots = square_roots
        self.fused = network if fused is None else fused
        self.input_kind: InputKind = preprocessing.kind
        self.eval().requires_grad_(False)
        weights = checksum or checksum_of(network.state_dict())
        self.checksum = with_settings(f"{weights} square roots" if square_roots else weights, preprocessing)
        self.feature_dim = self._tried() if feature_dim is None else feature_dim

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """Turns one input into a CPU tensor; see `Encoder`."""
        return self.preprocessing

    @property
    def collate(self) -> Callable[[Sequence[Tensor]], Tensor]:
        """Makes one batch of what `preprocess` returned; see `Encoder`."""
        return self.preprocessing.collate

    @property
    def at_least(self) -> tuple[int, int] | None:
        """The size of which a picture must be for `preprocess` to lose nothing; see `Encoder`."""
        side: int | None = getattr(self.preprocessing, "least_side", None)
        return None if side is None else (side, side)

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in evaluation mode, whatever ``mode`` says: batch norm must not follow the data."""
        super().train(False)
        return self

    def forward(self, batch: Tensor) -> Tensor:
        """Return features [N, feature_dim] of a ``batch`` on the encoder's device."""
        features: Tensor = self.fused(*self.preprocessing.inputs(batch))
        return features.clamp_min(0).sqrt() if self.square_roots else features

    @torch.no_grad()
    def encode(self, batch: Tensor) -> Tensor:
        """Return float32 features [N, feature_dim] of a ``batch``, on the encoder's device and without gradient."""
        device = next((each.device for each in (*self.parameters(), *self.buffers())), torch.device("cpu"))
        batch = batch.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            features = self(batch)
        return torch.as_tensor(features, dtype=torch.float32)

    def _tried(self) -> int:
        try:
            features = self.encode(self.preprocessing.probe(PROBED))
        except InputError:
            raise
        except Exception as error:  # whatever a network that expects other inputs raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise InputError(
                f"--encoder {self.name} cannot encode {PROBED} inputs at once as its preprocessing makes them "
                f"({reason}): choose another size or encoder, or export it for batches of any size."
            ) from error
        return checked_dim(self.name, features, PROBED)


def checked_dim(name: str, features: object, count: int) -> int:
    """Return the length of feature vectors, of which ``features`` are ``count``.

    Raises:
        InputError: they are not [count, D].
    """
    shape = list(features.shape) if isinstance(features, Tensor) else None
    if shape is None or len(shape) != 2 or shape[0] != count or shape[1] == 0:
        found = type(features).__name__ if shape is None else f"the shape {shape} for {count} inputs"
        raise InputError(f"--encoder {name} must return features [N, D], not {found}: pool what it returns.")
    return shape[1]


def checksum_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of ``tensors``, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def with_settings(checksum: str, preprocessing: Preprocessing) -> str:
    """Return the SHA-256 of the ``checksum`` of weights and of the settings of their preprocessing."""
    settings = json.dumps({"weights": checksum, preprocessing.kind: preprocessing.settings()}, sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()
