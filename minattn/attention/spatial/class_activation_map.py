"""Class activation maps: the attention that a network with pooling and one linear layer computes implicitly.

B. Zhou, A. Khosla, A. Lapedriza, A. Oliva and A. Torralba, "Learning deep features for discriminative localization",
CVPR 2016, section 2.  The last convolution gives feature maps f_k(x, y); pooling reduces each to one number F_k, and
one linear layer computes the score of every class from these.  Pooling and the linear layer commute, so every spatial
location has a score of its own:

    F_k       = sum_xy f_k(x, y)                                      pooling, section 2, unnumbered
    S_c       = sum_k w_k^c F_k = sum_xy sum_k w_k^c f_k(x, y)   (1)  the score of class c
    M_c(x, y) = sum_k w_k^c f_k(x, y)                            (2)  the map: what the location (x, y) adds to S_c

    M_c       = HW sum_k (dS_c / df_k) f_k                       (a)  the same by the gradient, where F_k is a mean
    F_k       = max_xy f_k(x, y)                                 (b)  another pooling; the map stays (2)

Deviations from the paper: pooling="mean" divides F_k by HW, as networks do and the paper does not; then S_c is the mean
of the map instead of its sum.  A bias of the linear layer is part of the score but not of the map.  Equal maxima share
the gradient of (b).  (a) is not in the paper: it says what the map is for a head that is not linear (R. Selvaraju et
al., "Grad-CAM", ICCV 2017, average the gradient over the locations first and keep the positive part of the map; with
one linear layer after a mean, up to a factor, only that last step differs).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Inexact, Integer

from minattn.autograd import Array, Tensor, ops, tensor
from minattn.autograd.backend import as_array
from minattn.autograd.functional import grad
from minattn.errors import ConfigError, ShapeError
from minattn.published import Mechanism, Paper

POOLINGS = {"sum": ops.sum, "mean": ops.mean, "max": ops.max}

Pooling = Literal["sum", "mean", "max"]


def class_activation_map(
    features: Inexact[Tensor, "batch channels height width"], weight: Inexact[Tensor, "channels classes"]
) -> Inexact[Tensor, "batch classes height width"]:
    """Return M_c(x, y) = sum_k w_k^c f_k(x, y) of every class.

    Raises ShapeError where the weight is not that of a linear layer over the channels of the features.
    """
    _check_sizes(features, weight)
    return ops.einsum("nkyx,kc->ncyx", features, weight)  # (2)


def class_scores(
    features: Inexact[Tensor, "batch channels height width"],
    weight: Inexact[Tensor, "channels classes"],
    bias: Inexact[Tensor, " classes"] | None = None,
    pooling: Pooling = "mean",
    *,
    need_weights: bool = True,
) -> tuple[Inexact[Tensor, "batch classes"], Inexact[Tensor, "batch classes height width"] | None]:
    """Return (the scores S, the maps M) of every class; need_weights=False: (S, None).

    Raises ShapeError where features, weight and bias do not fit, ConfigError for a pooling that does not exist.
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"the pooling {pooling!r} does not exist; hint: one of {', '.join(POOLINGS)}")
    _check_sizes(features, weight)
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"a bias of shape {bias.shape} does not go with a weight of shape {weight.shape}; hint: one number for "
            "each class"
        )
    pooled = POOLINGS[pooling](features, (2, 3))  # F, with pooling="max" (b)
    scores = ops.linear(pooled, weight, bias)  # (1)
    return scores, class_activation_map(features, weight) if need_weights else None


def gradient_class_activation_map(
    features: Inexact[Tensor, "batch channels height width"],
    head: Callable[[Tensor], Tensor],
    classes: Integer[Array, " batch"],
) -> Inexact[Tensor, "batch height width"]:
    """Return HW sum_k (dS_c / df_k) f_k of one class an image, for any head of a network.

    head: the scores S (batch, classes) of the features.  The map is the same as (2) where the head is a mean over the
    locations and a linear layer.  It has no gradient of its own; parameters of the head get one, as in any backward
    pass.
    """
    if features.ndim != 4:
        raise ShapeError(
            f"class activation maps got features of shape {features.shape}, expected (batch, channels, height, width)"
        )
    batch, _, height, width = features.shape
    _check_classes(batch, classes=classes)
    f = features.detach()
    slope = grad(lambda f: ops.sum(ops.gather(head(f), as_array(classes)[:, None], axis=1)))(f)  # dS_c / df_k
    return height * width * ops.sum(tensor(slope) * f, axis=1)  # (a)


def contrastive_map(
    features: Inexact[Tensor, "batch channels height width"],
    weight: Inexact[Tensor, "channels classes"],
    first: Integer[Array, " batch"],
    second: Integer[Array, " batch"],
) -> Inexact[Tensor, "batch height width"]:
    """Return M_a - M_b of the classes a = first and b = second of each image: the evidence for a rather than b.

    The map (2) is linear in the weights, so this is the map of w^a - w^b.
    """
    _check_sizes(features, weight)
    _check_classes(len(features), first=first, second=second)
    difference = ops.take(weight, first, axis=1) - ops.take(weight, second, axis=1)  # (channels, batch)
    return ops.einsum("nkyx,kn->nyx", features, difference)


def _check_classes(batch: int, **classes: Array) -> None:
    for name, each in classes.items():
        if np.shape(each) != (batch,):
            raise ShapeError(
                f"{name} has the shape {np.shape(each)} for a batch of {batch} images; hint: one class for each of them"
            )


def _check_sizes(features: Tensor, weight: Tensor) -> None:
    if features.ndim != 4 or weight.ndim != 2 or features.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"class activation maps got features of shape {features.shape} and a weight of shape {weight.shape}, "
            "expected (batch, channels, height, width) and (channels, classes); hint: the features that the "
            "pooling takes and the weight of the linear layer after it"
        )


MECHANISM = Mechanism(
    name="class activation maps",
    paper=Paper("Zhou et al.", 2016, "Learning deep features for discriminative localization"),
    equation="(1) S_c = sum_k w_k^c F_k = sum_xy M_c(x, y); (2) M_c(x, y) = sum_k w_k^c f_k(x, y)",
    code="class_activation_map",
    model="minattn.models.CifarResNet",
    command="minattn train images",
)
