"""The qa task: its settings, its score, the network that is chosen, and what can be asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_qa import SMALL, write_stories

from minattn.data.qa.stories import Stories, read_babi_folder, words_of
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks import driver
from minattn.tasks.qa.answerer import Answerer
from minattn.tasks.qa.settings import ALL_TASKS, ONE_TASK
from minattn.tasks.qa.task import BabiSource, QuestionAnswering, read_story
from minattn.training import Progress

TASK = QuestionAnswering()
STORY = "Mary went to the kitchen.\nJohn moved to the garden.\n"


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return read_babi_folder(write_stories(tmp_path_factory.mktemp("data")))


@pytest.fixture
def answerer(splits):
    return TASK.build(TASK.configure(SMALL), splits)


# ---------------------------------------------------------------------------------------------- settings
def test_one_task_has_settings_of_its_own():
    assert TASK.configure() == ALL_TASKS
    assert TASK.configure(["task=15"]) == replace(ONE_TASK, task=15)
    assert TASK.configure(["task=15", "epochs=3", "model=memn2n"]) == replace(ONE_TASK, task=15, epochs=3)
    assert (ONE_TASK.network.size, ONE_TASK.restarts, ONE_TASK.linear_epochs, ONE_TASK.epochs) == (20, 10, 20, 100)
    with pytest.raises(ConfigError, match="task must be at least 1"):
        TASK.configure(["task=0"])


def test_the_rate_of_the_sum_is_halved_after_linear_start_and_the_gradient_clipped_as_the_sum_would_be():
    config = replace(ONE_TASK, linear_epochs=2, epochs=6, halve_every=2, batch_size=32)
    schedule, plan = config.schedule(8 * 10), config.plan()
    rates = [schedule(step) / (0.005 * 32) for step in (1, 20, 40, 41, 60, 61, 80)]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert (plan.epochs, plan.max_norm, plan.clip_each, plan.last_is_best) == (8, 40 / 32, True, True)


# ---------------------------------------------------------------------------------------------- training and scoring
def has_gaps(batch):
    """An empty memory before a sentence."""
    real = batch.story.any(-1)
    return (~real[:, :-1] & real[:, 1:]).any()


def test_training_batches_have_noise_and_linear_start(splits):
    config = TASK.configure([*SMALL, "noise=0.9", "linear_epochs=1"])
    batches = Answerer.of(config, splits).batches(splits.train)
    found = [batch for epoch in range(2) for batch in batches.iterate(epoch)]
    assert any(has_gaps(batch) for batch in found)
    assert found[0].linear
    assert not found[-1].linear
    quiet = Answerer.of(TASK.configure([*SMALL, "noise=0"]), splits).batches(splits.train)
    assert not any(has_gaps(batch) for batch in quiet.iterate(0))


def test_the_loss_is_the_mean_over_the_questions_summed_over_the_networks(answerer, splits):
    batch = next(answerer.batches(splits.train).iterate(1))
    logits = answerer.model(batch.story, batch.question).data.astype(float)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -log_p[:, np.arange(len(batch.answer)), batch.answer].mean(1).sum()
    assert answerer.loss(answerer.model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_development_questions_choose_the_network_and_others_do_not(answerer, splits):
    good = answerer.answer_all(splits.dev).best()
    evaluation = TASK.evaluate(answerer, splits.dev)
    assert answerer.model.number == good
    assert evaluation.metrics["error"] == min(evaluation.details["of_all_networks"])
    answerer.model.choose(1 - good)
    same = Stories(splits.dev.questions)
    evaluation = TASK.evaluate(answerer, same)
    assert answerer.model.number == 1 - good
    assert evaluation.metrics["error"] == evaluation.details["of_all_networks"][1 - good]


def test_the_score_is_wrong_answers_of_each_task_and_over_all(answerer, splits):
    evaluation = TASK.evaluate(answerer, splits.test)
    wrong = {1: 0, 12: 0}
    for question in splits.test:
        answer = answerer.ask(question.story, question.words)
        wrong[question.task] += answer.answer != question.answer
    assert evaluation.details["tasks"] == pytest.approx({str(task): 100 * n / 40 for task, n in wrong.items()})
    assert evaluation.metrics["error"] == pytest.approx(100 * sum(wrong.values()) / 80)
    report = driver.reported(TASK, evaluation)
    by_task = ", ".join(f"{task}: {100 * n / 40:.1f}" for task, n in wrong.items())
    assert f"% wrong over 80 questions; by task: {by_task}; {evaluation.details['failed']} of 2" in TASK.summary(report)


def test_networks_learn_where_everybody_is(tmp_path):
    """A few seconds: one supporting fact, three networks."""
    config = TASK.configure(["task=1", "restarts=3", "linear_epochs=2", "epochs=12", "lr=0.02", "noise=0"])
    driver.start(TASK, config, BabiSource(), tmp_path / "run", make_progress=Progress)
    assert driver.evaluate(tmp_path / "run")["error"] < 10
    answerer = driver.load(tmp_path / "run")
    answer = answerer.ask([words_of(line) for line in STORY.splitlines()], words_of("Where is Mary?"))
    assert answer.answer == "kitchen"
    assert answer.weights[:, -1].argmax() == 0
    assert (tmp_path / "run" / "hops.png").exists()


def test_questions_may_come_before_every_sentence(tmp_path):
    lines = "1 Where is Mary?\tkitchen\n1 Where is John?\tgarden\n" * 10
    for part in ("train", "test"):
        (tmp_path / f"qa1_questions_{part}.txt").write_text(lines, encoding="utf-8")
    driver.start(TASK, TASK.configure(SMALL), BabiSource(str(tmp_path)), tmp_path / "run", make_progress=Progress)
    assert driver.evaluate(tmp_path / "run")["questions"] == 20
    assert not (tmp_path / "run" / "hops.png").exists()  # nothing to look at


# ---------------------------------------------------------------------------------------------- asking
def test_an_answer_has_weights_over_the_last_sentences_that_fit(answerer):
    story = [words_of("Mary went to the kitchen."), *[words_of("John moved to the garden.")] * 9]
    answer = answerer.ask(story, words_of("Where is Mary?"))
    assert answer.forgotten == 2
    assert answer.sentences == story[2:]
    assert answer.weights.shape == (8, 2)
    np.testing.assert_allclose(answer.weights.sum(0), 1, rtol=1e-5)  # no slot is empty
    short = answerer.ask(story[:2], words_of("Where is Mary?"))
    assert (short.forgotten, len(short.sentences)) == (0, 2)
    assert short.weights[0, 0] != short.weights[1, 0]
    assert (short.weights.sum(0) < 1).all()


def test_the_memory_has_as_many_slots_as_stories_and_noise_ever_use(splits):
    for noise, memory, expected in ((0.1, 50, 11), (0, 50, 10), (0.5, 12, 12)):
        answerer = Answerer.of(TASK.configure([f"noise={noise}", f"memory={memory}"]), splits)
        assert answerer.slots == expected


def test_a_checkpoint_that_calls_the_slots_places_is_read_too(answerer):
    meta = answerer.meta()
    old = {"words": meta["words"], "places": meta["slots"]}
    assert TASK.restored(answerer.config, meta).slots == TASK.restored(answerer.config, old).slots == answerer.slots
    with pytest.raises(CheckpointError, match="slots: expected int, got null"):
        TASK.restored(answerer.config, {"words": meta["words"]})


@pytest.mark.parametrize(
    ("story", "question", "message"),
    [
        ("", "Where is Mary?", "the story has no sentence; hint"),
        ("Mary went to the kitchen.", "?", "the question has no word; hint"),
        ("Mary went to the kitchen.", "Where is Bob?", "'where is bob' has 'bob', which no story trained on has; hint"),
        ("Mary went to the moon.", "Where is Mary?", "'mary went to the moon' has 'moon'"),
        ("Mary went to the kitchen and to the garden.", "Where is Mary?", "has 9 words; hint: at most 8"),
    ],
)
def test_what_cannot_be_answered_is_refused(answerer, story, question, message):
    sentences = [words_of(story)] if story else []
    with pytest.raises(DataError, match=message):
        answerer.ask(sentences, words_of(question))


def test_an_answer_outside_the_vocabulary_is_refused(answerer, splits):
    question = replace(splits.test.questions[0], answer="moon")
    with pytest.raises(DataError, match="test: the answer 'moon' is none that the network knows; hint"):
        answerer.check(Stories((question,)), "test")


def test_a_story_is_read_with_numbers_or_without(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("1 Mary moved.\n\n2 Where is Mary?\tkitchen\t1\nJohn moved.\nWhere?\n", encoding="utf-8")
    assert read_story(path) == [("mary", "moved"), ("john", "moved")]
    path.write_text("Where is Mary?\n", encoding="utf-8")
    with pytest.raises(DataError, match="has no sentence; hint"):
        read_story(path)


def test_simulated_tasks_are_named_and_a_folder_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert BabiSource().name("test") == "the simulated tasks"
    assert BabiSource().absolute() == BabiSource()
    assert BabiSource("here").absolute().data == str(Path("here").absolute())
