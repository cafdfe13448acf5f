"""A g2p run with the Transformer in two threads: it learns, and a stopped run goes on as if it had not been stopped."""

import json

import pytest
from small_g2p import SMALL_TRANSFORMER, write_words

from minattn.tasks.config import read_json
from minattn.tasks.g2p import task as g2p
from minattn.tasks.g2p.pronouncer import Pronouncer
from minattn.tasks.run_folder import REPORT
from minattn.training import BEST, LAST, LOG, Progress, load_checkpoint

CONFIG = g2p.config_from([*SMALL_TRANSFORMER, "epochs=3", "dropout=0.1", "threads=2"])
STEPS = 21  # of such a run


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Pictures take longer than all the rest."""
    with pytest.MonkeyPatch.context() as pictures:
        pictures.setattr(g2p, "draw_pictures", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return g2p.DataFiles(**write_words(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="module")
def straight(files, tmp_path_factory):
    """The folder of the run that nothing stopped."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    g2p.train(CONFIG, files, folder, make_progress=Progress)
    return folder


def records(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_it_learns(straight):
    losses = [record["dev_loss"] for record in records(straight) if "dev_loss" in record]
    assert len(losses) == 3
    assert losses[-1] < 0.9 * losses[0]


def test_its_score_is_that_of_the_model_that_is_loaded(straight, files):
    score = Pronouncer.load(straight).score(files.load_test(), beam=4)
    assert read_json(straight / REPORT)["test"]["per"] == score.per


@pytest.mark.parametrize("stopped_at", [0, 9, STEPS - 1])
def test_a_stopped_run_goes_on_bit_for_bit(files, straight, tmp_path, monkeypatch, stopped_at):
    """Dropout is on: its generator must go on too."""
    folder = tmp_path / "run"
    assert CONFIG.dropout > 0
    loss, left = Pronouncer.loss, iter(range(stopped_at))

    def stopping(self, model, batch):
        if next(left, None) is None:
            raise RuntimeError("a power cut")
        return loss(self, model, batch)

    with monkeypatch.context() as power:
        power.setattr(Pronouncer, "loss", stopping)
        with pytest.raises(RuntimeError, match="a power cut"):
            g2p.train(CONFIG, files, folder, make_progress=Progress)
    g2p.resume(folder, make_progress=Progress)
    for name in (LAST, BEST):
        arrays, expected = (load_checkpoint(place / name)[0] for place in (folder, straight))
        assert arrays.keys() == expected.keys()
        for key, array in arrays.items():
            assert array.dtype == expected[key].dtype
            assert array.tobytes() == expected[key].tobytes(), key
    assert read_json(folder / REPORT)["test"] == read_json(straight / REPORT)["test"]
