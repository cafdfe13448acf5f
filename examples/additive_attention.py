# %% [markdown]
# # Additive attention
# A network reads the letters of a word and pronounces it phoneme by phoneme.  For each phoneme it attends to the
# letters (D. Bahdanau, K. Cho and Y. Bengio, ICLR 2015).  Which letters make which sound, it learns by itself.
# Needs `pip install 'minattn[train]'` and about a minute on one core.
# %%
import matplotlib.pyplot as plt
import numpy as np

import minattn as ma
from minattn import nn
from minattn.attention.sequence import AdditiveAttention
from minattn.data import Vocabulary, load_cmudict, pad_sequences
from minattn.training import Adam

STEPS, BATCH, SIZE = 1500, 64, 64
rng = np.random.default_rng(0)
words = load_cmudict()  # the CMU Pronouncing Dictionary: 106,174 training words, and others for testing
pairs = words.train.pairs()  # such as ("knight", ("N", "AY", "T"))
letters = Vocabulary.from_sequences(word for word, _ in pairs)
phonemes = Vocabulary.from_sequences(pronunciation for _, pronunciation in pairs)


# %% [markdown]
# A bidirectional GRU turns the letters into annotations h.  At each step the decoder, in state s, attends to them.  The
# context and the previous phoneme give its next state; state and context give the logits of the next phoneme.
# %%
class Pronouncer(nn.Module):
    def __init__(self):
        self.letters = nn.Embedding(len(letters), SIZE, rng, std=0.1)
        self.encoder = nn.BidirectionalGRU(SIZE, SIZE, rng)
        self.phonemes = nn.Embedding(len(phonemes), SIZE, rng, std=0.1)
        self.attention = AdditiveAttention(SIZE, 2 * SIZE, SIZE, rng, init="glorot")
        self.decoder = nn.GRUCell(3 * SIZE, SIZE, rng)  # input: the previous phoneme and the context
        self.classifier = nn.Linear(3 * SIZE, len(phonemes), rng)

    def forward(self, words, steps, truth=None):
        source, mask = pad_sequences([letters.encode(word) for word in words])
        h = self.encoder(self.letters(source), mask)
        keys = self.attention.keys(h)  # U_a h, the same at every step
        s = ma.tensor(np.zeros((len(words), SIZE), np.float32))
        previous, logits, alignment = np.full(len(words), phonemes.bos), [], []
        for i in range(steps):
            context, weights = self.attention(s, h, mask, keys)
            s = self.decoder(ma.concat([self.phonemes(previous), context], axis=1), s)
            logits.append(self.classifier(ma.concat([s, context], axis=1)))
            alignment.append(weights)
            previous = logits[i].data.argmax(1) if truth is None else truth[:, i]
        return ma.stack(logits, axis=1), ma.stack(alignment, axis=1)


# %%
model = Pronouncer()
optimizer = Adam(model.named_parameters())
for step in range(STEPS):
    batch = [pairs[i] for i in rng.integers(len(pairs), size=BATCH)]
    target, _ = pad_sequences([phonemes.encode(pronunciation, eos=True) for _, pronunciation in batch])
    logits, _ = model([word for word, _ in batch], target.shape[1], truth=target)
    loss = ma.cross_entropy(logits, target, ignore_index=phonemes.pad)
    optimizer.zero_grad()
    loss.backward()
    optimizer.lr = 0.004 * (1 - step / STEPS)
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step:5,}  loss {loss.item():.3f}", flush=True)
# %% How many unseen words are pronounced correctly?  Draw the attention: rows are phonemes, columns are letters.
shown, test = ["knapsack", "cellophane", "lightened", "telephony"], list(words.test)[::10]
with ma.no_grad():
    logits, alignment = model(shown + test, steps=20)
predicted = [phonemes.decode(row.argmax(1)) for row in logits.data]
right = [tuple(sounds) in words.test[word] for word, sounds in zip(test, predicted[len(shown) :], strict=True)]
print(f"{np.mean(right):.0%} of {len(test):,} new words are pronounced right")

figure, axes = plt.subplots(1, len(shown), figsize=(11, 2.6), layout="constrained")
for ax, word, sounds, weights in zip(axes, shown, predicted, alignment.data, strict=False):
    image = ax.imshow(weights[: len(sounds), : len(word)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set(xticks=range(len(word)), xticklabels=word, yticks=range(len(sounds)), yticklabels=sounds)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
figure.colorbar(image, ax=axes, label="attention weight", aspect=30)
figure.savefig("additive_attention.png", dpi=200)
