"""Facts: what is read, what is asked about them, and how a memory holds them."""

import json
import re
import sys

import pytest
from small_facts import facts_text, write_facts

from minattn.data.qa import facts as module
from minattn.data.qa.facts import (
    REVERSED,
    Entities,
    Fact,
    Slot,
    generate_questions,
    load_countries,
    memory_of,
    read_facts,
    read_questions,
    window_around,
)
from minattn.data.splits import part_of
from minattn.errors import ConfigError, DataError, MissingDependencyError

FACTS = (Fact("new zealand", "capital", "wellington"), Fact("iceland", "language code", "is"))


@pytest.fixture
def facts(tmp_path):
    return read_facts(write_facts(tmp_path))


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "file.tsv").write_text(text, encoding="utf-8")
        return tmp_path / "file.tsv"

    return write


# ---------------------------------------------------------------------------------------------- reading
def test_facts_are_read_in_lower_case(file):
    path = file("New  Zealand\tCapital\tWellington\n\nIceland\tlanguage code\tis\n")
    assert read_facts(path) == FACTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", r"line 1: 'a\\tb' is no fact; hint"),
        ("a\tb\t\n", r"line 1: .* is no fact; hint"),
        ("a\tb\tc\td\n", r"line 1: .* is no fact; hint"),
        ("a\tb\tc\n\nA\tb\tC\n", r"line 3: the fact stands in line 1 already; hint"),
        ("a\tb\tA\n", r"line 1: 'a' leads to itself; hint"),
        ("\n", r"has no fact; hint"),
    ],
)
def test_what_is_no_fact_is_refused_by_its_line(file, text, message):
    with pytest.raises(DataError, match=message):
        read_facts(file(text))


def test_questions_are_words_and_entities_with_their_answers(file):
    found = read_questions(file("What is the capital of New Zealand?\tWellington| Auckland\n"), FACTS)
    (question,) = found
    assert question.words == ("what", "is", "the", "capital", "of", "new zealand")
    assert question.answers == ("wellington", "auckland")
    for text, message in (
        ("what\n", r"line 1: 'what' is no question; hint"),
        ("what\ta\tb\n", r"line 1: 'what\\ta\\tb' is no question; hint"),
        ("?\ta\n", r"line 1: '\?\\ta' is no question; hint"),
        ("\n", "has no question; hint"),
    ):
        with pytest.raises(DataError, match=message):
            read_questions(file(text), FACTS)


def test_the_longest_names_are_found_and_words_of_questions_in_brackets_only():
    entities = Entities([*FACTS, Fact("zealand", "capital", "sorø")])
    assert entities.link("is new zealand in zealand?") == ("is", "new zealand", "in", "zealand")
    assert entities.link("[is] [new zealand] x") == ("is", "new zealand", "x")
    assert entities.link("what [is] new zealand?") == ("what", "is", "new", "zealand"), "only what is in brackets"
    assert entities.link("who made [What's  up, Doc?]?") == ("who", "made", "what's up, doc?")
    assert entities.link("[] x [is") == ("[]", "x", "[is"), "no name in brackets"
    assert Entities([]).link("what is it") == ("what", "is", "it")


def test_countries_are_read_where_they_lie(tmp_path, monkeypatch):
    package = tmp_path / "countryinfo"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('nothing of it is run')")
    estonia = {"name": "Estonia", "ISO": {"alpha3": "EST"}, "capital": "Tallinn", "borders": ["LVA"], "area": 45227}
    estonia["altSpellings"] = ["EE", "Eesti"]
    latvia = {"name": "Latvia", "ISO": {"alpha3": "LVA"}, "capital": "", "nativeName": "Latvia", "tld": [".lv"]}
    for country in (estonia, latvia):
        (package / "data" / f"{country['name']}.json").write_text(json.dumps(country))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "countryinfo", raising=False)
    assert load_countries() == (
        Fact("estonia", "capital", "tallinn"),
        Fact("estonia", "neighbor", "latvia"),
        Fact("estonia", "area", "45227"),
        Fact("estonia", "other name", "eesti"),
        Fact("latvia", "internet domain", ".lv"),
    )
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[facts\]'"):
        load_countries()


# ---------------------------------------------------------------------------------------------- questions
def the_way(question, facts):
    """The facts that lead from the name in a question to its answers, and the name."""
    names = {name for fact in facts for name in (fact.subject, fact.object)}
    (entity,) = [word for word in question.words if word in names]
    *first, last = question.relations
    way = [fact for fact in facts if [fact.object, REVERSED + fact.relation] == [entity, *first]]
    if first:
        (entity,) = {fact.subject for fact in way}
    if last.startswith(REVERSED):
        last_facts = [fact for fact in facts if (fact.object, REVERSED + fact.relation) == (entity, last)]
        return way + last_facts, [fact.subject for fact in last_facts]
    last_facts = [fact for fact in facts if (fact.subject, fact.relation) == (entity, last)]
    return way + last_facts, [fact.object for fact in last_facts]


def test_questions_are_asked_from_both_ends_and_of_two_hops_and_know_all_answers(facts):
    splits = generate_questions(facts, two_hops=60)
    for part, questions in splits.parts().items():
        assert questions.facts == facts
        for question in questions:
            way, answers = the_way(question, facts)
            assert set(question.answers) == set(answers)
            assert {part_of(f"{fact.subject} {fact.relation}") for fact in way} == {part}
        assert {(len(q.relations), q.relations[-1].startswith(REVERSED)) for q in questions} == {
            (1, False),
            (1, True),
            (2, False),
        }
    assert sum(len(question.relations) == 2 for question in splits.test) == 4
    asked = {(question.words, question.relations) for part in splits for question in part}
    assert len(asked) == sum(map(len, splits)), "nothing is asked twice in the same words"
    assert splits.fingerprints() == generate_questions(facts, two_hops=60).fingerprints()
    assert splits.fingerprints() != generate_questions(facts, two_hops=10).fingerprints()


def test_no_training_question_joins_the_names_of_a_fact_that_is_held_out(facts):
    turned = [Fact(fact.object, "found at", fact.subject) for fact in facts[::3]]
    facts = (*facts, *turned)
    splits = generate_questions(facts, two_hops=60)
    held = {frozenset(fact[::2]) for part in (splits.dev, splits.test) for q in part for fact in the_way(q, facts)[0]}
    trained = [the_way(question, facts)[0] for question in splits.train]
    assert held
    assert trained
    assert not any(frozenset(fact[::2]) in held for way in trained for fact in way)
    part = {fact: part_of(f"{fact.subject} {fact.relation}") for fact in facts}
    pairs = {frozenset(fact[::2]) for fact in facts if part[fact] != "train"}
    lost = [fact for fact in facts if part[fact] == "train" and frozenset(fact[::2]) in pairs]
    assert lost, "a fact of the training part has the names of one that is held out"
    assert not any(fact in way for way in trained for fact in lost)


def test_no_training_question_of_two_hops_leads_from_one_name_of_a_held_out_fact_to_the_other():
    facts = [
        fact
        for i in range(60)
        for fact in (Fact(f"s{i}", "p", f"o{i}"), Fact(f"s{i}", "q", f"a{i}"), Fact(f"o{i}", "r", f"a{i}"))
    ]
    splits = generate_questions(facts, two_hops=10**6)
    of_two = [question for question in splits.train if question.relations == (REVERSED + "p", "q")]
    direct = {i: part_of(f"o{i} r") for i in range(60)}
    asked = {int(word[1:]) for question in of_two for word in question.words if re.fullmatch(r"o\d+", word)}
    trained = {i for i in range(60) if {part_of(f"s{i} p"), part_of(f"s{i} q")} == {"train"}}
    assert asked == {i for i in trained if direct[i] == "train"}
    assert asked < trained


def test_names_may_have_brackets_and_question_marks():
    entities = Entities([Fact("[rec]", "genre", "horror"), Fact("who am i?", "made by", "[rec] 2 [uncut]")])
    assert entities.link("what is the genre of [rec]?") == ("what", "is", "the", "genre", "of", "[rec]")
    assert entities.link("what is the genre of [[rec]]?") == ("what", "is", "the", "genre", "of", "[rec]")
    assert entities.link("who made who am i?") == ("who", "made", "who am i?")
    assert entities.link("who made [who am i?], please.") == ("who", "made", "who am i?", "please")
    assert entities.link("is [[rec] 2 [uncut]] made") == ("is", "[rec] 2 [uncut]", "made")
    assert entities.link("the country of Horror.") == ("the", "country", "of", "horror")


# ---------------------------------------------------------------------------------------------- memories
def test_triples_are_stored_in_both_directions():
    assert memory_of(FACTS[:1], "triples") == [
        Slot(("new zealand", "capital:"), ("wellington",)),
        Slot(("wellington", "!capital:"), ("new zealand",)),
    ]


def test_documents_are_stored_by_sentences_and_by_windows():
    fact, sentence = FACTS[:1], ("new zealand", "capital", "wellington")
    assert memory_of(fact, "sentences") == [Slot(sentence, sentence)]
    assert memory_of(fact, "windows") == [Slot(sentence, ("new zealand",)), Slot(sentence, ("wellington",))]
    centers = memory_of(fact, "centers")
    assert centers[1] == Slot(("new zealand", "capital", "center:wellington"), ("wellington",))
    titles = memory_of(fact, "titles")
    assert titles[0::2] == centers
    assert titles[3] == Slot((*centers[1].key, "title", "new zealand"), ("new zealand",))
    (_, last) = memory_of([Fact("a", "b c d", "e")], "windows")
    assert last == Slot(("b", "c", "d", "e"), ("e",)), "seven words at most, itself in the middle"
    with pytest.raises(ConfigError, match="there is no memory of 'words'; hint: triples, windows, centers, titles"):
        memory_of(fact, "words")


@pytest.mark.parametrize("encode_center", [False, True])
def test_a_window_of_one_word_is_that_word(encode_center):
    words = ("a", "b", "c")
    for place, word in enumerate(words):
        found = window_around(words, place, 1, encode_center)
        assert found == (f"center:{word}" if encode_center else word,)
    assert window_around(words, 1, 3) == words
    assert window_around(words, 0, 3) == ("a", "b")


def test_the_small_facts_are_as_many_as_their_lines(facts):
    assert len(facts) == facts_text().count("\n")
