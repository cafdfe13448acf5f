"""The facts task: the slots that a question finds, its score, and what can be asked."""

from dataclasses import replace

import numpy as np
import pytest
from small_facts import SMALL, write_facts

from minattn.data import Splits
from minattn.data.qa.facts import CENTER, Fact, FactQuestion, FactQuestions, generate_questions, read_facts
from minattn.errors import ConfigError, DataError
from minattn.tasks import driver
from minattn.tasks.facts.answerer import FactAnswerer
from minattn.tasks.facts.task import FactAnswering, FactSource, panel
from minattn.training import Progress

TASK = FactAnswering()


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return generate_questions(read_facts(write_facts(tmp_path_factory.mktemp("data"))), two_hops=40)


@pytest.fixture(params=["triples", "titles", "sentences"])
def answerer(splits, request):
    return TASK.build(TASK.configure([*SMALL, f"memory={request.param}", "slots=12"]), splits)


def test_a_question_finds_the_slots_with_its_name_first(answerer):
    words = answerer.entities.link("what is the dish of anine")
    found = answerer.retrieved(words)
    assert 0 < len(found) <= 12
    assert len(set(found.tolist())) == len(found)
    first = answerer.memory[found[0] - 1]
    assert "anine" in first.key
    assert answerer.config.memory == "triples" or "dish" in first.key


def test_a_question_of_two_hops_finds_the_second_fact_too(splits):
    answerer = TASK.build(TASK.configure([*SMALL, "slots=12"]), splits)
    for question in splits.test:
        if len(question.relations) == 2:
            slots = [answerer.memory[slot - 1] for slot in answerer.retrieved(question.words)]
            assert any(set(slot.value) & set(question.answers) for slot in slots)


def test_a_batch_has_the_words_of_the_slots_and_a_right_answer(answerer, splits, monkeypatch):
    permuted = next(answerer.batches(splits.train).iterate(0))
    monkeypatch.setattr(answerer, "config", replace(answerer.config, permute_entities=False))
    batch = next(answerer.batches(splits.train).iterate(0))
    assert (permuted.question != batch.question).any()
    assert permuted.question.shape == batch.question.shape
    assert batch.keys.shape[:2] == batch.values.shape[:2] == batch.mask.shape
    assert not batch.keys[~batch.mask].any()
    by_words = {tuple(answerer.words.encode(q.words)): q for q in splits.train}
    for words, answer in zip(batch.question, batch.answer, strict=True):
        assert answerer.candidates[answer] in by_words[tuple(words[words != 0])].answers
    parts = batch.split(3)
    assert sum(len(part.answer) for part, _ in parts) == len(batch.answer)


def test_entities_are_permuted_alike_wherever_they_stand_and_words_are_left_alone(answerer, splits):
    batch = answerer.batch(
        splits.train.questions, [answerer.retrieved(q.words) for q in splits.train], np.arange(len(splits.train)) % 50
    )
    other = answerer.permuted(batch, np.random.default_rng(3))
    changed = {}
    for before, after in zip(batch[:3], other[:3], strict=True):
        for old, new in zip(before.ravel(), after.ravel(), strict=True):
            assert changed.setdefault(old, new) == new
    assert len(set(changed.values())) == len(changed)
    symbols = answerer.words.to_list()
    words = {symbols[old]: symbols[new] for old, new in changed.items()}
    assert any(old != new for old, new in words.items())
    for old, new in words.items():
        assert (old in answerer.candidate_index) == (new in answerer.candidate_index)
        assert old.startswith(CENTER) == new.startswith(CENTER)
        assert old == new or old.removeprefix(CENTER) in answerer.candidate_index
        if CENTER + old in words:
            assert words[CENTER + old] == CENTER + new
    for old, new in zip(batch.answer, other.answer, strict=True):
        name = answerer.candidates[old]
        assert words.get(name, answerer.candidates[new]) == answerer.candidates[new]
    np.testing.assert_array_equal(other.mask, batch.mask)


def test_the_score_is_the_share_of_right_answers(answerer, splits):
    evaluation = TASK.evaluate(answerer, splits.test)
    right = 0
    for question in splits.test:
        text = " ".join(f"[{word}]" if word in answerer.candidate_index else word for word in question.words)
        right += answerer.ask(text).answer in question.answers
    assert evaluation.metrics["hits"] == pytest.approx(100 * right / len(splits.test))
    assert set(evaluation.details["kinds"]) == {"objects", "subjects", "two hops"}
    assert "% right over" in TASK.summary(driver.reported(TASK, evaluation))


def test_what_a_question_names_is_no_answer_to_it(answerer):
    """The probability is that among all other names."""
    name = "anine"
    for parameter in answerer.model.parameters():
        parameter.replace_data(np.random.default_rng(0).normal(size=parameter.shape).astype(np.float32))
    assert answerer.candidate_mask(["the", name]).sum() == len(answerer.candidates) - 1
    found = answerer.ask(f"what is the dish of {name}")
    words = answerer.entities.link(f"what is the dish of {name}")
    batch = answerer.batch([FactQuestion(words, ())], [answerer.retrieved(words)], np.zeros(1, int))
    scores = answerer.model(batch.question, batch.keys, batch.values, answerer._names, batch.mask).data[0]
    others = {other: np.exp(float(score)) for other, score in zip(answerer.candidates, scores, strict=True)}
    del others[name]
    assert found.answer == max(others, key=others.get)
    assert found.probability == pytest.approx(others[found.answer] / sum(others.values()), rel=1e-4)


def test_a_network_learns_to_read_what_it_was_never_asked(tmp_path):
    """A few seconds; by chance one question in 100 would be right, and half are where entities are not permuted."""
    config = TASK.configure(["size=24", "slots=6", "two_hops=0", "epochs=40", "batch_size=16", "hops=1", "lr=0.02"])
    driver.start(TASK, config, FactSource(write_facts(tmp_path)), tmp_path / "run", make_progress=Progress)
    assert driver.evaluate(tmp_path / "run")["hits"] > 80
    answerer = driver.load(tmp_path / "run")
    answer = answerer.ask("What is the number of anine?")
    assert answer.answer in {name for slot in answer.slots for name in slot.value}
    assert answer.weights.shape == (len(answer.slots), 1)
    np.testing.assert_allclose(answer.weights.sum(0), 1, rtol=1e-5)
    weights, hops, slots = panel(answer)
    assert (hops, len(slots), len(weights)) == (["hop 1"], len(answer.slots), len(answer.slots))
    assert weights[0].max() == answer.weights.max()
    assert (tmp_path / "run" / "hops.png").exists()


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("what is the dish of bob", "has 'bob', which is in no fact and in no question trained on; hint"),
        ("?", "the question has no word; hint"),
        ("what is that", "has 'that', which"),
        ("what is of", "no fact shares a word with 'what is of'; hint"),
    ],
)
def test_what_cannot_be_answered_is_refused(splits, question, message):
    answerer = TASK.build(TASK.configure(SMALL), splits)
    with pytest.raises(DataError, match=message):
        answerer.ask(question)


def test_an_answer_that_is_in_no_fact_is_refused(splits):
    answerer = FactAnswerer.of(TASK.configure(SMALL), splits)
    question = replace(splits.test.questions[0], answers=("the moon",))
    with pytest.raises(DataError, match="test: the answer 'the moon' is in no fact; hint"):
        answerer.check(FactQuestions(splits.test.facts, (question,)), "test")


def test_questions_of_ones_own_go_with_facts_of_ones_own(tmp_path):
    facts = write_facts(tmp_path)
    for part in ("train", "dev", "test"):
        (tmp_path / part).write_text("what is the dish of anine?\tbread\n", encoding="utf-8")
    paths = {part: str(tmp_path / part) for part in ("train", "dev", "test")}
    source = FactSource(facts, **paths)
    assert [len(part) for part in source.load(TASK.configure(SMALL))] == [1, 1, 1]
    assert source.name("dev") == paths["dev"]
    assert FactSource(facts).name("dev") == facts
    assert FactSource().name("test") == "countryinfo"
    with pytest.raises(ConfigError, match="go together, and there is only --train"):
        FactSource(facts, train=paths["train"])
    with pytest.raises(ConfigError, match="go with facts of one's own; hint: --facts FILE"):
        FactSource(**paths)


def test_further_hops_retrieve_further_facts():
    facts = [Fact("a", "r", "b"), Fact("b", "r", "c"), Fact("c", "r", "d"), Fact("x", "r", "y")]
    question = FactQuestion(("what", "a"), ("d",))
    splits = Splits(*(FactQuestions(tuple(facts), (question,)) for _ in range(3)))
    for hops, reached in ((1, {"b"}), (2, {"b", "c"}), (3, {"b", "c", "d"})):
        answerer = TASK.build(TASK.configure([*SMALL, "slots=12", f"hops={hops}"]), splits)
        slots = [answerer.memory[number - 1] for number in answerer.retrieved(question.words)]
        assert {name for slot in slots for name in slot.value} - {"a"} >= reached
        assert ("d" in {name for slot in slots for name in slot.value}) == (hops == 3)


def test_a_run_whose_first_questions_retrieve_nothing_is_drawn_all_the_same(tmp_path):
    facts = tuple(Fact(f"[rec]{i}", "genre", f"kind {i}") for i in range(6))
    unknown = FactQuestion(("what", "is", "the", "one"), ("kind 0",))
    known = FactQuestion(("what", "is", "[rec]1"), ("kind 1",))
    splits = Splits(*(FactQuestions(facts, (unknown, known)) for _ in range(3)))
    answerer = TASK.build(TASK.configure([*SMALL, "slots=12"]), splits)
    evaluation = TASK.evaluate(answerer, splits.test)
    assert TASK.figures(answerer, splits.test, evaluation, tmp_path) == ["hops.png"]
    assert TASK.figures(answerer, FactQuestions(facts, (unknown,)), evaluation, tmp_path) == []
    with pytest.raises(DataError, match="no fact shares a word with 'what is the one'"):
        answerer.answer(unknown.words)
