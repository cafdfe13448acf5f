# %% [markdown]
# # Squeeze-and-excitation
# Attention over channels: for each image, every channel of the feature maps gets a gate between 0 and 1 (J. Hu, L. Shen
# and G. Sun, CVPR 2018).  What do the gates of a trained network depend on?
# Needs `pip install 'minattn[images]'` and less than a minute on one core.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minattn as ma
from minattn import nn
from minattn.attention.channel import SqueezeExcitation
from minattn.data import load_digits
from minattn.training import Adam

STEPS, BATCH = 1500, 64
rng = np.random.default_rng(0)

# %% [markdown]
# Handwritten digits of 8 x 8 pixels.  The test digits were written by other people than the training digits.

# %%
digits = load_digits()


def batch_of(images, places):
    """Pixels from 0 to 1, and classes, of the images at these indices."""
    chosen = images.at(places)
    return ma.tensor(chosen.pixels.astype(np.float32) / 255), chosen.labels


# %% [markdown]
# A residual block with squeeze-and-excitation at the end of its residual branch, as in the paper's figure 3, and a
# network of three such blocks.  The mechanism returns the scaled feature maps and the gates.


# %%
class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        self.shortcut = nn.ConvNorm(inputs, outputs, 1, rng, stride=stride, relu=False)
        self.first = nn.ConvNorm(inputs, outputs, 3, rng, stride=stride, padding=1)
        self.second = nn.ConvNorm(outputs, outputs, 3, rng, padding=1, relu=False)
        self.se = SqueezeExcitation(outputs, rng, reduction=4)

    def forward(self, x):
        residual, gates = self.se(self.second(self.first(x)))
        return ma.relu(self.shortcut(x) + residual), gates


class Network(nn.Module):
    def __init__(self):
        self.blocks = [Block(1, 16, stride=1), Block(16, 32, stride=2), Block(32, 64, stride=2)]
        self.classifier = nn.Linear(64, 10, rng)

    def forward(self, x):
        gates = {}
        for depth, block in enumerate(self.blocks, start=1):
            x, gates[depth] = block(x)
        return self.classifier(x.mean((2, 3))), gates


# %%
model = Network()
optimizer = Adam(model.named_parameters())
for step in range(STEPS):
    images, classes = batch_of(digits.train, rng.integers(len(digits.train), size=BATCH))
    logits, _ = model(images)
    loss = ma.cross_entropy(logits, classes, label_smoothing=0.1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.lr = 0.01 * (1 - step / STEPS)
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step:5,}  loss {loss.item():.3f}", flush=True)

# %% [markdown]
# The mean gate of each channel over the images of each class.  As in the paper's section on the role of excitation, the
# first block's gates are nearly the same for all classes, and those of deeper blocks depend on the class.

# %%
model.eval()
images, classes = batch_of(digits.test, slice(None))
with ma.no_grad():
    logits, gates = model(images)
print(f"{np.mean(logits.data.argmax(1) == classes):.1%} of {len(classes)} new digits are right")

figure, axes = plt.subplots(3, 1, figsize=(8, 7), layout="constrained")
for ax, (depth, s) in zip(axes, gates.items(), strict=True):
    of_class = np.stack([s.data[classes == c].mean(0) for c in range(10)])
    by_size = np.argsort(of_class.mean(0))
    image = ax.imshow(of_class[:, by_size], cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.set(title=f"block {depth}: {s.shape[1]} channels", xticks=(), yticks=range(10), ylabel="digit")
    print(f"block {depth}: from class to class the gates vary by {of_class.std(0).mean():.3f}")
axes[-1].set_xlabel("channel, by its mean gate")
figure.colorbar(image, ax=axes, label="mean gate", aspect=40)
figure.savefig("squeeze_excitation.png", dpi=200)
