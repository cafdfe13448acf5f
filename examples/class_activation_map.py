# %% [markdown]
# # Class activation maps
# A network learns *which* handwritten digits an image shows, and is never told *where* they are.  Its class activation
# maps (B. Zhou et al., CVPR 2016) find them nevertheless.
# Needs `pip install 'minattn[images]'` and about a minute on one core.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minattn as ma
from minattn import nn
from minattn.attention.spatial import class_scores
from minattn.data import load_digits
from minattn.training import Adam

STEPS, BATCH = 350, 64
CELL, SIDE, EACH = 12, 36, 3  # an image of 36 x 36 has 3 x 3 cells, and three digits in three of them
rng = np.random.default_rng(0)

# %% [markdown]
# The images: three different digits of 8 x 8 pixels, scattered over a dark square.

# %%
digits = load_digits()


def scatter(digits, count):
    """Images with three digits each, their classes, and the top left corners of the digits."""
    classes = rng.permuted(np.tile(np.arange(10), (count, 1)), axis=1)[:, :EACH]
    cells = rng.permuted(np.tile(np.arange(9), (count, 1)), axis=1)[:, :EACH]
    corners = np.stack(np.divmod(cells, 3), axis=-1) * CELL + rng.integers(CELL - 7, size=(count, EACH, 2))
    images = np.zeros((count, 1, SIDE, SIDE), np.float32)
    for image, its_classes, its_corners in zip(images, classes, corners, strict=True):
        for c, (y, x) in zip(its_classes, its_corners, strict=True):
            image[:, y : y + 8, x : x + 8] = digits.pixels[rng.choice(np.flatnonzero(digits.labels == c))] / 255
    return images, classes, corners


# %% [markdown]
# The network ends in a mean over all positions and one linear layer.  The score of a class is therefore a mean over
# positions too, and its map shows the contribution of each position; `class_scores` returns both.


# %%
class Network(nn.Module):
    def __init__(self):
        self.convolutions = [
            nn.ConvNorm(1, 16, 3, rng, padding=1),
            nn.ConvNorm(16, 32, 3, rng, padding=1, stride=2),
            nn.ConvNorm(32, 64, 3, rng, padding=1),
            nn.ConvNorm(64, 64, 3, rng, padding=1),
        ]
        self.classifier = nn.Linear(64, 10, rng)

    def forward(self, images):
        x = ma.tensor(images)
        for convolution in self.convolutions:
            x = convolution(x)
        return class_scores(x, self.classifier.weight, self.classifier.bias)


# %%
model = Network()
optimizer = Adam(model.named_parameters())
for step in range(STEPS):
    images, classes, _ = scatter(digits.train, BATCH)
    present = np.eye(10, dtype=np.float32)[classes].sum(axis=1)
    logits, _ = model(images)
    loss = nn.binary_cross_entropy_with_logits(logits, present)
    optimizer.zero_grad()
    loss.backward()
    optimizer.lr = 0.004 * (1 - step / STEPS)
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:4}  loss {loss.item():.3f}", flush=True)

# %% Test digits, by other writers: are all three classified, and does each one's map peak on it?
model.eval()
images, classes, corners = scatter(digits.test, 500)
with ma.no_grad():
    logits, maps = model(images)
named = np.sort(np.argsort(logits.data)[:, -EACH:]) == np.sort(classes)
maps = maps.data[np.arange(500)[:, None], classes]  # the maps of the digits in each image
peaks = np.stack(np.divmod(maps.reshape(500, EACH, -1).argmax(-1), maps.shape[-1]), axis=-1) * SIDE // maps.shape[-1]
found = ((corners <= peaks) & (peaks < corners + 8)).all(-1)
print(f"{named.all(-1).mean():.0%} of the images have all digits named, {found.mean():.0%} of the digits are found")

figure, axes = plt.subplots(3, 1 + EACH, figsize=(8, 6), layout="constrained")
for row, image, its_classes, its_corners, its_maps in zip(axes, images, classes, corners, maps, strict=False):
    for ax in row:
        ax.imshow(image[0], cmap="gray", extent=(0, SIDE, SIDE, 0))
        ax.set(xticks=(), yticks=())
    for ax, c, (y, x), map_ in zip(row[1:], its_classes, its_corners, its_maps, strict=True):
        ax.imshow(map_, cmap="inferno", vmin=0, alpha=0.7, extent=(0, SIDE, SIDE, 0), interpolation="bilinear")
        ax.add_patch(plt.Rectangle((x, y), 8, 8, fill=False, edgecolor="white"))
        ax.set_title(f"{c}")
axes[0, 0].set_title("image")
figure.savefig("class_activation_map.png", dpi=200)
