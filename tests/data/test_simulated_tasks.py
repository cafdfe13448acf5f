"""The simulated tasks: every answer follows from the sentences that the question names, by rules written out here."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minattn.data.qa.simulated import TASKS, load_simulated, simulate
from minattn.errors import ConfigError

SEEDS = st.integers(0, 2**16)
PLACE = r"(?:to|in) the (\w+)$"
SINGULAR = {"mice": "mouse", "wolves": "wolf", "cats": "cat", "sheep": "sheep"}


def text(sentence):
    return " ".join(sentence)


def questions_of(task, seed, count=25):
    return [(list(map(text, q.story)), text(q.words), q.answer, q.facts) for q in simulate(task, count, seed)]


def place_of(sentence):
    return re.search(PLACE, sentence)[1]


def last(story, pattern):
    """The place of the last sentence in which the pattern is found."""
    return max(i for i, sentence in enumerate(story) if re.search(pattern, sentence))


# ---------------------------------------------------------------------------------------------- people and things
@pytest.mark.parametrize("task", [1, 12])
@given(seed=SEEDS)
@settings(max_examples=5)
def test_people_are_where_they_went_last(task, seed):
    for story, question, answer, facts in questions_of(task, seed):
        where = last(story, rf"\b{question.split()[2]}\b")
        assert (place_of(story[where]), (where,)) == (answer, facts)


@given(SEEDS)
@settings(max_examples=5)
def test_people_are_in_a_place_or_not(seed):
    for story, question, answer, facts in questions_of(6, seed):
        person, place = re.match(r"is (\w+) in the (\w+)", question).groups()
        where = last(story, rf"^{person} (went|moved|journeyed|travelled)")
        assert facts == (where,)
        assert answer == ("yes" if place_of(story[where]) == place else "no")


def paths(story, thing):
    """The places where a thing is known to have been, in their order."""
    at, holder, found = {}, None, []
    for sentence in story:
        person = sentence.split()[0]
        if re.search(r"(went|moved|journeyed|travelled)", sentence):
            at[person] = place_of(sentence)
        elif thing in sentence:
            took = re.search(r"(got|took|grabbed|picked up)", sentence)
            holder = person if took else None
        place = at.get(person)
        known = place and (holder == person or thing in sentence)
        if known and (not found or found[-1] != place):
            found.append(place)
    return found


@given(SEEDS)
@settings(max_examples=5)
def test_things_are_where_they_were_carried(seed):
    for story, question, answer, facts in questions_of(2, seed):
        thing = question.split()[-1]
        assert paths(story, thing)[-1] == answer
        assert thing in story[facts[0]]
        assert place_of(story[facts[1]]) == answer


@given(SEEDS)
@settings(max_examples=5)
def test_things_were_where_they_were_before(seed):
    for story, question, answer, facts in questions_of(3, seed):
        thing, place = re.match(r"where was the (\w+) before the (\w+)", question).groups()
        path = paths(story, thing)
        where = max(i for i, name in enumerate(path) if name == place)
        assert path[where - 1] == answer
        assert place_of(story[facts[1]]) == place
        assert place_of(story[facts[2]]) == answer


# ---------------------------------------------------------------------------------------------- what is not certain
@pytest.mark.parametrize("task", [9, 10])
@given(seed=SEEDS)
@settings(max_examples=5)
def test_what_was_said_last_of_somebody_counts(task, seed):
    for story, question, answer, facts in questions_of(task, seed):
        person, place = re.match(r"is (\w+) in the (\w+)", question).groups()
        where = last(story, rf"^{person}\b")
        said = story[where]
        assert facts == (where,)
        if " either " in said:
            expected = "maybe" if place in said.split() else "no"
        elif " not " in said or " no longer " in said:
            assert place_of(said) == place
            expected = "no"
        else:
            expected = "yes" if place_of(said) == place else "no"
        assert answer == expected


# ---------------------------------------------------------------------------------------------- relations
@given(SEEDS)
@settings(max_examples=5)
def test_places_lie_as_they_were_said_to(seed):
    opposite = {"north": "south", "south": "north", "east": "west", "west": "east"}
    for story, question, answer, (fact,) in questions_of(4, seed):
        found = set()
        for i, sentence in enumerate(story):
            a, relation, b = re.match(r"the (\w+) is (\w+) of the (\w+)", sentence).groups()
            found |= {(a, relation, b, i), (b, opposite[relation], a, i)}
        asked = re.match(r"what is (\w+) of the (\w+)$", question)
        if asked:
            assert (answer, asked[1], asked[2], fact) in found
        else:
            place, relation = re.match(r"what is the (\w+) (\w+) of$", question).groups()
            assert (place, relation, answer, fact) in found


@given(SEEDS)
@settings(max_examples=5)
def test_one_is_afraid_of_what_its_kind_is_afraid_of(seed):
    for story, question, answer, (kind, fear) in questions_of(15, seed):
        name = question.split()[2]
        assert story[kind].startswith(f"{name} is a ")
        afraid, of = re.match(r"(\w+) are afraid of (\w+)", story[fear]).groups()
        assert (SINGULAR[afraid], SINGULAR[of]) == (story[kind].split()[-1], answer)
        assert len(story) == 8


@given(SEEDS)
@settings(max_examples=5)
def test_one_has_the_color_of_all_others_of_its_kind(seed):
    for story, question, answer, facts in questions_of(16, seed):
        asked = question.split()[-1]
        kinds = dict(re.match(r"(\w+) is a (\w+)", s).groups() for s in story if " is a " in s)
        colors = dict(re.match(r"(\w+) is (\w+)", s).groups() for s in story if " is a " not in s)
        others = {colors[name] for name, kind in kinds.items() if kind == kinds[asked] and name != asked}
        assert others == {answer}
        assert asked not in colors
        assert [story[fact].split()[0] == asked for fact in facts] == [True, False, False]


@given(SEEDS)
@settings(max_examples=5)
def test_sizes_follow_from_two_sentences_and_from_no_single_one(seed):
    for story, question, answer, facts in questions_of(18, seed):
        smaller = set()
        for sentence in story:
            a, inside, b = re.match(r"the (.+?) (fits inside|is bigger than) the (.+)", sentence).groups()
            smaller.add((a, b) if inside == "fits inside" else (b, a))
        a, bigger, b = re.match(r"(?:is|does) the (.+?) (bigger than|fit in) the (.+)", question).groups()
        small, large = (b, a) if bigger == "bigger than" else (a, b)
        small, large = (small, large) if answer == "yes" else (large, small)
        assert (small, large) not in smaller
        assert any((small, middle) in smaller and (middle, large) in smaller for middle, _ in smaller)
        assert len(facts) == 2


# ---------------------------------------------------------------------------------------------- all of them
@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_as_many_questions_as_asked_for_and_every_answer_often(task):
    stories = simulate(task, 300, 0)
    assert len(stories) == 300
    assert stories.tasks == [task]
    counts = Counter(question.answer for question in stories)
    assert min(counts.values()) > 300 / len(counts) / 5
    assert stories.fingerprint() == simulate(task, 300, 0).fingerprint()
    assert stories.fingerprint() != simulate(task, 300, 1).fingerprint()


def test_the_default_is_all_tasks_with_a_tenth_held_out():
    splits = load_simulated(questions=50)
    assert [len(part) for part in splits] == [45 * 11, 5 * 11, 50 * 11]
    assert splits.test.tasks == list(TASKS)
    assert splits.train.of_task(1).questions[0] != splits.test.of_task(1).questions[0]
    assert load_simulated(16, 50).dev.tasks == [16]


def test_a_task_that_is_not_simulated_is_refused():
    with pytest.raises(ConfigError, match=r"task 5 is not simulated; hint: one of 1, 2, 3, 4, 6, .*, or --data FOLDER"):
        load_simulated(5)
