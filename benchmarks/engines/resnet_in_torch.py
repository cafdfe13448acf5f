"""W6, the residual network, and W7, one convolution, in PyTorch; `layout` is the order in which images are stored."""

from itertools import cycle

import inputs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

AS_IT_COMES, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


class Unit(nn.Sequential):
    """A convolution of 3x3 and the batch norm behind it."""

    def __init__(self, weights, name: str, stride: int = 1) -> None:
        weight = torch.from_numpy(weights[f"{name}_W"])
        outputs, channels, size, _ = weight.shape
        conv = nn.Conv2d(channels, outputs, size, stride, padding=1, bias=False)
        norm = nn.BatchNorm2d(outputs)
        with torch.no_grad():
            conv.weight.copy_(weight)
            norm.weight.copy_(torch.from_numpy(weights[f"{name}_norm_weight"]))
            norm.bias.copy_(torch.from_numpy(weights[f"{name}_norm_bias"]))
        super().__init__(conv, norm)


def linear(weights, weight: str, bias: str) -> nn.Linear:
    """A layer that starts from a weight (inputs, outputs)."""
    layer = nn.Linear(*weights[weight].shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights[weight].T))
        layer.bias.copy_(torch.from_numpy(weights[bias]))
    return layer


class SqueezeExcitation(nn.Module):
    def __init__(self, weights, name: str) -> None:
        super().__init__()
        self.first = linear(weights, f"{name}_W_1", f"{name}_b_1")
        self.second = linear(weights, f"{name}_W_2", f"{name}_b_2")

    def forward(self, x: Tensor) -> Tensor:
        gates = torch.sigmoid(self.second(F.relu(self.first(x.mean((2, 3))))))
        return x * gates[:, :, None, None]


class Block(nn.Module):
    """Two units; a shortcut that changes the size takes every second pixel and pads the channels."""

    def __init__(self, weights, name: str, stride: int, new: int, se: bool) -> None:
        super().__init__()
        self.first, self.second = Unit(weights, f"{name}_conv1", stride), Unit(weights, f"{name}_conv2")
        self.se = SqueezeExcitation(weights, f"{name}_se") if se else nn.Identity()
        self.stride, self.new = stride, new

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.second(F.relu(self.first(x))))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, weights, se: bool) -> None:
        super().__init__()
        self.conv = Unit(weights, "conv")
        blocks = []
        for stage in range(3):
            for block in range(inputs.BLOCKS):
                changes = stage > 0 and block == 0
                new = inputs.FILTERS * 2 ** (stage - 1) if changes else 0
                name = f"stage{stage + 1}_block{block + 1}"
                blocks.append(Block(weights, name, 2 if changes else 1, new, se))
        self.blocks = nn.Sequential(*blocks)
        self.classifier = linear(weights, "classifier_W", "classifier_b")

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.blocks(F.relu(self.conv(images))).mean((2, 3)))


def set_up(threads, se, layout):
    torch.set_num_threads(threads)
    weights, batches = inputs.resnet(se)
    model = ResNet(weights, se).to(memory_format=layout)
    return model, cycle(
        [
            (torch.from_numpy(images).contiguous(memory_format=layout), torch.from_numpy(labels))
            for images, labels in batches
        ]
    )


def training(threads, se=False, layout=AS_IT_COMES, fused=False):
    model, coming = set_up(threads, se, layout)
    settings = {"momentum": inputs.MOMENTUM, "weight_decay": inputs.DECAY}
    optimizer = torch.optim.SGD(model.parameters(), inputs.RATE, **settings, fused=fused)

    def step():
        images, labels = next(coming)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def training_se(threads):
    return training(threads, se=True)


def inference(threads, se=False, layout=AS_IT_COMES):
    model, coming = set_up(threads, se, layout)
    model.eval()

    @torch.inference_mode()
    def step():
        images, _ = next(coming)
        return model(images).max().item()

    return step


def inference_se(threads):
    return inference(threads, se=True)


def forward(threads, layout=AS_IT_COMES):
    torch.set_num_threads(threads)
    x, weight, _ = convolution(layout)

    @torch.inference_mode()
    def step():
        return F.conv2d(x, weight, padding=1)[inputs.PIXEL].item()

    return step


def forward_and_backward(threads, layout=AS_IT_COMES):
    torch.set_num_threads(threads)
    x, weight, g = convolution(layout)
    x.requires_grad_()
    weight.requires_grad_()

    def step():
        x.grad = weight.grad = None
        F.conv2d(x, weight, padding=1).backward(g)
        return weight.grad[inputs.TAP].item() + x.grad[inputs.PIXEL].item()

    return step


def convolution(layout):
    arrays = inputs.convolution()
    return [torch.from_numpy(arrays[name]).contiguous(memory_format=layout) for name in ("x", "weight", "g")]
