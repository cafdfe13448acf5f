"""W6, the residual network, and W7, one convolution, in minattn."""

from itertools import cycle

import inputs
import numpy as np
from threadpoolctl import threadpool_limits

import minattn as ma
from minattn.data import ImageBatch
from minattn.models.vision.cifar_resnet import CifarResNet, CifarResNetConfig
from minattn.training import SGD, DataParallel


def make_model(weights, se):
    config = CifarResNetConfig(
        depth=6 * inputs.BLOCKS + 2,
        shortcut="A",
        se=inputs.REDUCTION if se else None,
        classes=inputs.CLASSES,
        width=inputs.FILTERS,
    )
    model = CifarResNet(config, np.random.default_rng(0))
    model.load_state_dict(model.state_dict() | own_names(weights, se))  # the running statistics stay as they are
    return model


def own_names(weights, se):
    """The weights under the model's names."""
    own = {"classifier.weight": weights["classifier_W"], "classifier.bias": weights["classifier_b"]}
    own |= unit_names(weights, "conv", "conv1")
    for stage in range(3):
        for block in range(inputs.BLOCKS):
            name, path = f"stage{stage + 1}_block{block + 1}", f"stages.{stage}.blocks.{block}"
            for i in range(2):
                own |= unit_names(weights, f"{name}_conv{i + 1}", f"{path}.convolutions.{i}")
            if se:
                own |= {f"{path}.se.{part}": weights[f"{name}_se_{part}"] for part in ("W_1", "b_1", "W_2", "b_2")}
    return own


def unit_names(weights, name, path):
    """A convolution and the batch norm behind it."""
    return {
        f"{path}.conv.weight": weights[f"{name}_W"],
        f"{path}.norm.weight": weights[f"{name}_norm_weight"],
        f"{path}.norm.bias": weights[f"{name}_norm_bias"],
    }


def mean_loss(model, batch):
    logits = model(ma.tensor(batch.images))
    return ma.cross_entropy(logits, batch.labels)


def training(threads, se=False):
    """The threads share the batch; BLAS has one thread in each of them."""
    threadpool_limits(1, user_api="blas")
    weights, batches = inputs.resnet(se)
    model = make_model(weights, se)
    parallel = DataParallel(model, mean_loss, threads)
    optimizer = SGD(model.named_parameters(), inputs.RATE, inputs.MOMENTUM, weight_decay=inputs.DECAY)
    coming = cycle(ImageBatch(*batch) for batch in batches)

    def step():
        optimizer.zero_grad()
        loss = parallel.backward(next(coming))
        optimizer.step()
        return float(loss)

    return step


def training_se(threads):
    return training(threads, se=True)


def inference(threads, se=False):
    weights, batches = inputs.resnet(se)
    model = make_model(weights, se).eval()
    coming = cycle(batches)

    @ma.no_grad()
    def step():
        logits = model(ma.tensor(next(coming).images))
        return logits.data.max().item()

    return step


def inference_se(threads):
    return inference(threads, se=True)


def forward(threads):
    arrays = inputs.convolution()
    x, weight = ma.tensor(arrays["x"]), ma.tensor(arrays["weight"])

    @ma.no_grad()
    def step():
        return ma.conv2d(x, weight, padding=1)[inputs.PIXEL].item()

    return step


def forward_and_backward(threads):
    arrays = inputs.convolution()
    x, weight = (ma.tensor(arrays[name], requires_grad=True) for name in ("x", "weight"))

    def step():
        x.grad = weight.grad = None
        ma.conv2d(x, weight, padding=1).backward(arrays["g"])
        return weight.grad[inputs.TAP].item() + x.grad[inputs.PIXEL].item()

    return step
