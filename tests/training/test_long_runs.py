"""Memory stays flat over many training steps: what a step takes, the next one finds again."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import gc
from pathlib import Path
import numpy as np
import minattn as ma
from minattn import nn
from minattn.attention.sequence import AdditiveAttention, attentive_gru
from minattn.training import Adam, clip_grad_norm

class Model(nn.Module):
    def __init__(self, rng):
        self.embedding = nn.Embedding(5, 4, rng)
        self.attention = AdditiveAttention(4, 4, 4, rng, init="glorot")
        self.decoder = nn.GRU(4, 4, rng)
        self.C = nn.initializers.glorot_uniform((4, 12), rng)
        self.readout = nn.Linear(4, 5, rng)

    def forward(self, ids):
        x = self.embedding(ids)
        attention, decoder = self.attention, self.decoder
        arguments = attention.keys(x), x, attention.W_a, attention.v_a, self.C, decoder.U
        states, _, _ = attentive_gru(decoder.project(x), ma.tanh(x[:, 0]), *arguments)
        return self.readout(states)

rng = np.random.default_rng(0)
model = Model(rng)
optimizer = Adam(model.named_parameters())
ids = rng.integers(0, 5, (2, 2))

def steps(count):
    for _ in range(count):
        optimizer.zero_grad()
        ma.cross_entropy(model(ids), ids).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * 4096, len(gc.get_objects()))

steps(2_000)
steps(8_000)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see the memory of a process")
def test_10_000_steps_take_no_more_memory_than_2_000():
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    (bytes_before, objects_before), (bytes_after, objects_after) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert bytes_after - bytes_before < 1 << 20
    assert objects_after - objects_before < 100
