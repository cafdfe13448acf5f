"""A g2p run with Luong's network: it learns, and what it has learned is loaded, decoded and aligned."""

import json

import numpy as np
import pytest
from small_g2p import write_words

from minattn.errors import ConfigError
from minattn.tasks import driver
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.training import LOG, Progress

SMALL = ("model=luong", "embedding=8", "hidden=16", "layers=2", "batch_size=16", "epochs=6", "lr=0.03", "dropout=0.1")
KINDS = {
    "local-p": ["attention=local-p", "score=general"],
    "location, no feeding": ["attention=global", "score=location", "feeding=false"],
    "no attention": ["attention=none", "feeding=false"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_pronounces(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(driver, "draw_figures", lambda *_: [])  # they take longer than all the rest
    source, folder, task = LexiconFiles(**write_words(tmp_path)), tmp_path / "run", G2P()
    config = task.configure([*SMALL, *KINDS[kind]], source=source)
    driver.start(task, config, source, folder, make_progress=Progress)
    losses = [json.loads(line).get("dev_loss") for line in (folder / LOG).read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert losses[-1] < 0.9 * losses[0]
    words = ["bad", "ace"]
    for word, said in zip(words, driver.load(folder).pronounce(words, beam=2), strict=True):
        assert said.alignment.shape == (len(said.phonemes), 1 if kind == "no attention" else len(word))
        assert np.isfinite(said.alignment).all()


def test_a_network_without_attention_has_no_vector_to_feed():
    with pytest.raises(ConfigError, match="no vector to feed; hint: feeding=False"):
        G2P().configure(["model=luong", "attention=none"])
