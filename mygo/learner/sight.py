"""What a learner sees through, and the network with which it begins."""

from torch import Tensor

from mygo import seeding
from mygo.adapting.front import FrontEncoder
from mygo.config.learner import AnyPrecision, LifeConfig
from mygo.data.examples import ImageShape, InputShape
from mygo.encoders.efficientnet_lite import HEAD
from mygo.encoders.protocol import Encoder
from mygo.networks.neocortex import NeocortexNet


class Sight:
    """What a learner sees: images as they are, vectors of a frozen encoder, or those of an encoder that it adapts."""

    def __init__(self, config: LifeConfig, input_shape: InputShape) -> None:
        self.config = config
        self.input_shape = input_shape
        self.encoder: Encoder | None = None
        """What it sees through, once that was read; a life keeps its name and checksum, not its weights."""
        self.encoder_checksum = ""
        """Of the encoder that it was begun with."""
        self.encoder_precision: AnyPrecision = "auto"
        """In which the encoder multiplies: once it has begun, the one that its first workers agreed on."""
        self.late_weights: dict[str, Tensor] = {}
        """Those with which late blocks that are to be trained begin, once the encoder was read; so does each sleep."""

    def see_through(self, encoder: Encoder) -> None:
        """See through ``encoder`` from now on."""
        self.encoder, self.encoder_checksum = encoder, encoder.checksum
        if isinstance(encoder, FrontEncoder):
            self.late_weights = encoder.late_weights

    def newborn(self) -> NeocortexNet:
        """Return a network without heads, as that of this life was before its first lesson."""
        with seeding.seeded(self.config.seed, "neocortex"):
            net = NeocortexNet(self.input_shape, self.config.backbone)
        if self.late_weights:
            net.features[-1].load_state_dict(self.late_weights)
        return net

    @property
    def on_features(self) -> bool:
        """Whether what it sees are feature vectors, not images."""
        return len(self.input_shape) == 1

    @property
    def adapts(self) -> bool:
        """Whether it sleeps to train the late blocks of its encoder, behind whose frozen front it sees."""
        return self.config.adapt == "late"

    @property
    def order_free(self) -> bool:
        """Whether it becomes the same in whatever order its lessons came: behind an encoder that is not adapted."""
        return self.on_features and not self.adapts

    def detector_dim(self, feature_dim: int) -> int:
        """Return the values of a vector that its detector takes, where its network makes features of ``feature_dim``.

        See `mygo.learner.limits.detector_input`.
        """
        if self.adapts:
            return HEAD
        return self.input_shape[0] if self.on_features else feature_dim

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W) of the images that this life sees.

        Raises:
            ValueError: it sees vectors.
        """
        channels, height, width = self.input_shape
        return channels, height, width
