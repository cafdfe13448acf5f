# %% [markdown]
# # Multi-head attention
# A small Transformer (A. Vaswani et al., NIPS 2017) reads the documentation of Python's standard library and learns to
# predict each character from those before it.  The heads of each layer learn to attend to different things.
# Needs `pip install 'minattn[train]'` and about a minute on one core.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minattn as ma
from minattn import nn
from minattn.attention.self_attention import MultiHeadAttention, SinusoidalPositions
from minattn.data import load_docstrings
from minattn.training import Adam

STEPS, BATCH, LENGTH = 700, 16, 96
LAYERS, HEADS, SIZE = 2, 4, 96
rng = np.random.default_rng(0)

# %% [markdown]
# The text: 1.9 million characters; the documentation of some modules is held out for testing.

# %%
texts = load_docstrings()
ids = {character: i for i, character in enumerate(sorted(set(texts.train + texts.test)))}


def encode(text):
    return np.array([ids[character] for character in text])


def windows(text, starts):
    """LENGTH characters from each start on, and for each of them the character that follows it."""
    places = np.asarray(starts)[:, None] + np.arange(LENGTH)
    return text[places], text[places + 1]


train, test = encode(texts.train), encode(texts.test)


# %% [markdown]
# A layer is causal multi-head self-attention, where no position attends to a later one, followed by a feed-forward
# network.  Each normalizes its input and adds its output to the residual stream (pre-norm).


# %%
class Layer(nn.Module):
    def __init__(self):
        self.norms = [nn.LayerNorm(SIZE), nn.LayerNorm(SIZE)]
        self.attention = MultiHeadAttention(SIZE, HEADS, rng)
        self.wide, self.narrow = nn.Linear(SIZE, 4 * SIZE, rng), nn.Linear(4 * SIZE, SIZE, rng)

    def forward(self, x):
        attended, weights = self.attention(self.norms[0](x), causal=True)
        x = x + attended
        return x + self.narrow(ma.relu(self.wide(self.norms[1](x)))), weights


class LanguageModel(nn.Module):
    def __init__(self):
        self.characters = nn.Embedding(len(ids), SIZE, rng, std=0.1)
        self.positions = SinusoidalPositions()
        self.layers = [Layer() for _ in range(LAYERS)]
        self.norm, self.classifier = nn.LayerNorm(SIZE), nn.Linear(SIZE, len(ids), rng)

    def forward(self, read):
        x = self.positions(self.characters(read))
        heads = []
        for layer in self.layers:
            x, weights = layer(x)
            heads.append(weights)
        return self.classifier(self.norm(x)), heads


# %%
model = LanguageModel()
optimizer = Adam(model.named_parameters())
for step in range(STEPS):
    read, following = windows(train, rng.integers(len(train) - LENGTH, size=BATCH))
    logits, _ = model(read)
    loss = ma.cross_entropy(logits, following)
    optimizer.zero_grad()
    loss.backward()
    optimizer.lr = 0.004 * min(1, step / 100) * (1 - step / STEPS)
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:4}  loss {loss.item():.3f}", flush=True)

# %% [markdown]
# How well does it predict text it has never read, and what does each head attend to?  In each row, a position of the
# sentence attends to itself and those before it: to the last few characters, to the start of the word, or to all alike.

# %%
sentence = "Return a list of the names."
with ma.no_grad():
    read, following = windows(test, range(0, len(test) - LENGTH, 10 * LENGTH))
    bits = ma.cross_entropy(model(read)[0], following).item() / np.log(2)
    _, heads = model(encode(sentence)[None])
print(f"{bits:.2f} bits a character of other modules")

figure, axes = plt.subplots(LAYERS, HEADS, figsize=(12, 6.3), layout="constrained")
for layer, (row, weights) in enumerate(zip(axes, heads, strict=True), start=1):
    for head, ax in enumerate(row, start=1):
        image = ax.imshow(weights.data[0, head - 1], cmap="Blues", vmin=0, vmax=1)
        ax.set_title(f"layer {layer}, head {head}")
        ax.set_xticks(range(len(sentence)), sentence, fontsize=7)
        ax.set_yticks(range(len(sentence)), sentence, fontsize=7, ha="center")
        ax.tick_params(length=0, pad=5)
figure.colorbar(image, ax=axes, label="attention weight", aspect=40)
figure.savefig("multi_head_attention.png", dpi=200)
