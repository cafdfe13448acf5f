"""The attention branch: an attention map, learned jointly with the classification.

H. Fukui, T. Hirakawa, T. Yamashita and H. Fujiyoshi, "Attention Branch Network: learning of attention mechanism for
visual explanation", CVPR 2019, sections 3.1 to 3.3, and the authors' code.  The extractor gives the features g of an
image, and there are K classes:

    A     = ReLU(BN(conv1x1(BN(stage(g)))))                      (a)  a map for each class, K x h x w
    S_att = mean over the positions of conv1x1(A)                (b)  the branch's own logits, for L_att
    M     = sigma(BN(conv(A)))                                   (c)  the attention map, 1 x h x w
    g'    = g (1 + M),  or  g' = g M                             (d)  the attention mechanism

`stage` is a copy of the backbone's last stage with stride 1, so that M is as large as g.  Because (b) makes A a map for
each class, M shows where the evidence is.  A class activation map weights feature maps by a linear layer that is
trained for another purpose; here the branch learns how to combine the class maps into one.

The letters are this file's.

Deviations from the paper: the convolution of (c) is 3x3 as in the authors' code; kernel=1 is the paper's 1x1.  The
batch normalization after the stage, BN(stage(g)), and those of (a) and (c) are the code's; the 1x1 convolutions have no
bias, as there.  Parameters start He-normal by their inputs, in the code by their outputs.
"""

from jaxtyping import Inexact

from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BatchNorm2d, Conv2d, ConvNorm, Module
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper


def check_kernel(kernel: int) -> None:
    """Raise ConfigError unless the map's convolution is 3x3, as in the authors' code, or 1x1, as in the paper."""
    if kernel not in (1, 3):
        raise ConfigError(f"the attention map's kernel is {kernel!r}; hint: 3, as in the authors' code, or 1")


class AttentionBranch(Module):
    """The attention branch (a)-(c).

    stage: a module that turns the features g into `channels` maps of the same height and width; kernel: 3 (the
    authors' code) or 1 (the paper), the size of the map's convolution.  Raises ConfigError for another kernel.
    """

    def __init__(self, channels: int, classes: int, stage: Module, rng: Rng, kernel: int = 3) -> None:
        check_kernel(kernel)
        self.stage = stage
        self.norm = BatchNorm2d(channels)
        self.class_maps = ConvNorm(channels, classes, 1, rng)
        self.scores = Conv2d(classes, classes, 1, rng, bias=False)
        self.map = ConvNorm(classes, 1, kernel, rng, padding=kernel // 2, relu=False)

    def forward(
        self, g: Inexact[Tensor, "batch channels height width"]
    ) -> tuple[Inexact[Tensor, "batch classes"], Inexact[Tensor, "batch 1 height width"]]:
        """Return (the branch's logits S_att, the attention map M) of the features g.

        Raises ShapeError where the stage changes the height or the width.
        """
        deeper = self.stage(g)
        if deeper.shape[2:] != g.shape[2:]:
            raise ShapeError(
                f"the stage of an attention branch made {deeper.shape[2:]} positions of {g.shape[2:]}; hint: a copy "
                "of the last stage with stride 1"
            )
        a = self.class_maps(self.norm(deeper))  # (a)
        logits = ops.mean(self.scores(a), (2, 3))  # (b)
        m = ops.sigmoid(self.map(a))  # (c)
        return logits, m


def attend(
    g: Inexact[Tensor, "batch channels height width"], m: Inexact[Tensor, "batch 1 height width"], residual: bool = True
) -> tuple[Inexact[Tensor, "batch channels height width"], Inexact[Tensor, "batch 1 height width"]]:
    """Return (g (1 + M), M), the attention mechanism; with residual=False (g M, M), which may erase a position.

    Raises ShapeError where M is not one map of the height and width of g for each image.
    """
    if g.ndim != 4 or m.shape != (g.shape[0], 1, *g.shape[2:]):
        raise ShapeError(
            f"an attention map of shape {m.shape} does not fit features of shape {g.shape}; hint: a map (batch, 1, "
            "height, width) of features (batch, channels, height, width)"
        )
    return (g * m + g if residual else g * m), m  # (d)


MECHANISM = Mechanism(
    name="attention branch",
    paper=Paper(
        "Fukui et al.",
        2019,
        "Attention branch network: learning of attention mechanism for visual explanation",
    ),
    equation="sections 3.1 to 3.3: M = sigma(BN(conv(A))), A a map for each class; g' = g (1 + M)",
    code="AttentionBranch",
    model="minattn.models.AttentionBranchNetwork",
    command="minattn train images --model abn_resnet20",
    experiment="experiments/abn_noise.py",
)
