"""`minattn train qa`, `evaluate` and `predict`, from a folder of stories to the hops of a question."""

from pathlib import Path

import pytest
from small_qa import train_arguments, write_stories

from minattn.tasks.files import read_json
from minattn.tasks.run_folder import REPORT


def write(folder):
    (folder / "stories").mkdir()
    write_stories(folder / "stories")


@pytest.fixture
def stories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    Path("story.txt").write_text("Mary went to the kitchen.\nJohn moved to the garden.\n" * 5)


def test_a_run_from_its_start_to_an_answer(minattn, stories):
    result = minattn(*train_arguments("run"))
    assert (result.status, result.err) == (0, "")
    assert "questions: 72 train, 8 dev, 80 test; of 2 tasks, stories of up to 10 sentences" in result.out
    report = read_json(Path("run", REPORT))
    assert report["figures"] == ["curves.png", "hops.png"]
    assert set(report["test"]["tasks"]) == {"1", "12"}
    assert result.out.endswith('minattn predict run --story FILE "Where is Mary?"\n')
    score = minattn("evaluate", "run").out
    assert score.startswith(f"{report['test']['error']:.2f} % wrong over 80 questions; by task: 1: ")
    other = minattn("evaluate", "run", "--test", "stories/qa12_simulated_test.txt").out
    assert "% wrong over 40 questions" in other

    answer = minattn("predict", "run", "--story", "story.txt", "Where is Mary?", "--plot", "hops.png")
    assert answer.status == 0
    assert answer.err == "note: the memory has room for 8 sentences: the first 2 are left out\n"
    assert "(probability 0." in answer.out
    assert "hop 1" in answer.out
    assert answer.out.count("mary went to the kitchen") == 4
    assert Path("hops.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_answered_is_one_line(minattn, stories):
    minattn(*train_arguments("run", "epochs=1", "restarts=1"))
    Path("empty.txt").write_text("\n")
    for arguments, message in (
        (("--story", "story.txt", "Where is Bob?"), "has 'bob', which no story trained on has; hint"),
        (("--story", "empty.txt", "Where is Mary?"), "empty.txt has no sentence; hint"),
        (("--story", "none.txt", "Where is Mary?"), "there is no file none.txt"),
    ):
        result = minattn("predict", "run", *arguments)
        assert result.status != 0
        assert message in result.err
        assert result.err.count("\n") == 1
