"""Facts, questions about them, and the memories that hold them.

A fact is a subject, a relation and an object: France, capital, Paris.  A file of them has lines
`subject<TAB>relation<TAB>object`, one of questions `question<TAB>answer|answer`.  Without files the facts are those of
PyPI's `countryinfo` about countries, whose data are read where they lie; nothing of the package is run.

How facts are stored is section 3.2 of A. Miller et al., "Key-value memory networks for directly reading documents",
EMNLP 2016: as triples, or as documents, of which every sentence, or every window of words around an entity, is a slot.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from minattn.data.splits import PARTS, SHARES, Splits, part_of
from minattn.data.text.texts import read_text
from minattn.errors import ConfigError, DataError, MissingDependencyError

Representation = Literal["triples", "windows", "centers", "titles", "sentences"]

WINDOW = 7  # words around an entity, itself included; section 4 of the paper
REVERSED = "!"  # before the name of a relation that is read from the object to the subject
CENTER = "center:"  # before the feature of a window's center
PUNCTUATION = "?!.,"  # after a word of a question

FORWARD = ("what is the {r} of {s}", "tell me the {r} of {s}", "which {r} does {s} have")
BACKWARD = ("which country has the {r} {o}", "what has {o} as its {r}", "{o} is the {r} of what")
TWO_HOPS = ("what is the {r} of the country whose {first} is {o}", "tell me the {r} of the one with the {first} {o}")


class Fact(NamedTuple):
    """A subject, a relation and an object, all in lower case."""

    subject: str
    relation: str
    object: str


class Slot(NamedTuple):
    """A slot of a memory: the features of its key and of its value."""

    key: tuple[str, ...]
    value: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactQuestion:
    """A question, as words and entities, the answers that are right, and the relations that lead to them."""

    words: tuple[str, ...]
    answers: tuple[str, ...]
    relations: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FactQuestions:
    """Questions about facts; all parts of a data set have the same facts."""

    facts: tuple[Fact, ...]
    questions: tuple[FactQuestion, ...]

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[FactQuestion]:
        return iter(self.questions)

    def fingerprint(self) -> str:
        """SHA-256 of the facts and the questions."""
        digest = hashlib.sha256()
        for line in (*self.facts, *self.questions):
            digest.update(repr(line).encode())
        return digest.hexdigest()


# ---------------------------------------------------------------------------------------------- reading
def read_facts(path: str | Path) -> tuple[Fact, ...]:
    """Read a knowledge base.

    Raises DataError, with the file and the line, for a line of another form, for a fact that is there already and for
    one whose subject is its object, and for a file without a fact.
    """
    found: dict[Fact, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        parts = [" ".join(part.lower().split()) for part in line.split("\t")]
        if len(parts) != 3 or not all(parts):
            raise DataError(f"{path}, line {number}: {line[:60]!r} is no fact; hint: subject<TAB>relation<TAB>object")
        fact = Fact(*parts)
        if fact in found:
            raise DataError(f"{path}, line {number}: the fact stands in line {found[fact]} already; hint: leave it out")
        if fact.subject == fact.object:
            raise DataError(f"{path}, line {number}: {fact.subject!r} leads to itself; hint: leave the fact out")
        found[fact] = number
    if not found:
        raise DataError(f"{path} has no fact; hint: lines of the form subject<TAB>relation<TAB>object")
    return tuple(found)


def read_questions(path: str | Path, facts: Sequence[Fact]) -> FactQuestions:
    """Read questions about facts.  Raises DataError for a line of another form, and for a file without a question."""
    entities, questions = Entities(facts), []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        question, tab, answers = line.partition("\t")
        right = tuple(" ".join(answer.lower().split()) for answer in answers.split("|") if answer.strip())
        features = entities.link(question)
        if not tab or not right or not features or "\t" in answers:
            raise DataError(f"{path}, line {number}: {line[:60]!r} is no question; hint: question<TAB>answer|answer")
        questions.append(FactQuestion(features, right))
    if not questions:
        raise DataError(f"{path} has no question; hint: lines of the form question<TAB>answer")
    return FactQuestions(tuple(facts), tuple(questions))


COUNTRY_FIELDS = {
    "capital": "capital",
    "region": "region",
    "subregion": "subregion",
    "currencies": "currency",
    "borders": "neighbor",
    "demonym": "demonym",
    "population": "population",
    "area": "area",
    "callingCodes": "calling code",
    "tld": "internet domain",
    "nativeName": "native name",
    "timezones": "time zone",
    "altSpellings": "other name",
    "provinces": "province",
}
"""Fields of countryinfo, and the relations that they are here.  Codes of languages are left out: one is "is"."""

SHORTEST = 4  # letters of another name of a country that is no code


def load_countries() -> tuple[Fact, ...]:
    """The facts of PyPI's `countryinfo`.  Raises MissingDependencyError where it is not installed."""
    found = importlib.util.find_spec("countryinfo")
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            "facts about countries need countryinfo, which is not installed: pip install 'minattn[facts]'"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / "data"
    countries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    names = {country["ISO"]["alpha3"]: country["name"] for country in countries}
    facts: dict[Fact, None] = {}
    for country in countries:
        for field, relation in COUNTRY_FIELDS.items():
            values = country.get(field)
            for value in values if isinstance(values, list) else [values]:
                text = " ".join(str(names.get(value, value) if field == "borders" else value).lower().split())
                subject = country["name"].lower()
                code = relation == "other name" and len(text) < SHORTEST
                if value and text != subject and not code:
                    facts[Fact(subject, relation, text)] = None
    return tuple(facts)


# ---------------------------------------------------------------------------------------------- words and entities
class Entities:
    """Entity linking: the names of subjects and objects in a question, each one feature however many words it has."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        names = {name for fact in facts for name in (fact.subject, fact.object)}
        self._names = {tuple(name.split()): name for name in names}
        self._longest = max(map(len, self._names), default=0)
        own = re.findall(r"[a-z]+", " ".join((*FORWARD, *BACKWARD, *TWO_HOPS)))
        self._words = set(own) | {word for fact in facts for word in fact.relation.split()}

    def link(self, question: str) -> tuple[str, ...]:
        """The features of a question: the longest names in it, and its other words.

        Where names stand in brackets, as in "what is [is]", there are no others: so a name may be a word of questions
        too, as "is" is a language code.  A name may have brackets and question marks of its own.
        """
        question = question.lower()
        linked = tuple(self._longest_names(question.split()))
        if "[" not in question or any("[" in name and tuple(name.split()) in self._names for name in linked):
            return linked
        features: list[str] = []
        rest, bracketed = question, False
        while "[" in rest:
            before, _, rest = rest.partition("[")
            name, rest = self._to_bracket(rest)
            features += without_punctuation(before.split())
            features += [name] if name else []
            bracketed |= bool(name)
        return (*features, *without_punctuation(rest.split())) if bracketed else linked

    def _to_bracket(self, text: str) -> tuple[str, str]:
        """(the name before the bracket that closes, the rest): the first bracket, or a later one that ends a name."""
        ends = [match.start() for match in re.finditer(r"\]", text)]
        names = {end: " ".join(text[:end].split()) for end in ends}
        known = [end for end in ends if tuple(names[end].split()) in self._names]
        if not ends:
            return "", text
        end = max(known, default=ends[0])
        return names[end], text[end + 1 :]

    def _longest_names(self, words: Sequence[str]) -> Iterator[str]:
        start = 0
        while start < len(words):
            for length in range(min(self._longest, len(words) - start), 0, -1):
                *first, last = words[start : start + length]
                names = [(*first, last), (*first, last.rstrip(PUNCTUATION))]
                if name := next((n for n in names if n in self._names and not self._words.issuperset(n)), None):
                    yield self._names[name]
                    break
            else:
                length = 1
                yield from without_punctuation(words[start : start + 1])
            start += length


def without_punctuation(words: Iterable[str]) -> Iterator[str]:
    """The words without what ends a sentence."""
    return (word for word in (each.rstrip(PUNCTUATION) for each in words) if word)


# ---------------------------------------------------------------------------------------------- questions
def generate_questions(facts: Sequence[Fact], two_hops: int, seed: int = 0) -> Splits[FactQuestions]:
    """Questions for the object of every (subject, relation), the subject of every (object, relation), and of two hops.

    two_hops: how many of the latter at most, drawn with the seed.  What is held out is facts: the hash of a subject and
    a relation puts all their facts into a part.  A question is of the part that all the facts on its path are in; where
    they are in several it is left out.  So is a training question if a fact on its path, or itself with an answer, has
    the two names of a held-out fact, in whatever order: only the memory can answer for that one.
    """
    part_of_fact = {fact: part_of(f"{fact.subject} {fact.relation}") for fact in facts}
    held_out = {frozenset((fact.subject, fact.object)) for fact, part in part_of_fact.items() if part != "train"}
    objects, subjects = defaultdict(list), defaultdict(list)
    for fact in facts:
        objects[fact.subject, fact.relation].append(fact)
        subjects[fact.object, fact.relation].append(fact)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[FactQuestion]] = {part: [] for part in PARTS}

    def add(
        path: Sequence[Fact], templates: Sequence[str], answers: Sequence[str], relations: tuple[str, ...], **names: str
    ) -> None:
        part = _common_part(part_of_fact[fact] for fact in path)
        if part is None:
            return
        asked = names.get("s", names.get("o"))
        pairs = {frozenset(pair) for pair in [(f.subject, f.object) for f in path] + [(asked, a) for a in answers]}
        if part == "train" and not held_out.isdisjoint(pairs):
            return
        chosen = rng.permutation(len(templates))[: 2 if part == "train" else 1]
        for template in (templates[i] for i in chosen):
            words = tuple(feature for word in template.split() for feature in _fill(word, names))
            parts[part].append(FactQuestion(words, tuple(dict.fromkeys(answers)), relations))

    for (subject, relation), found in objects.items():
        add(found, FORWARD, [fact.object for fact in found], (relation,), s=subject, r=relation)
    for (obj, relation), found in subjects.items():
        add(found, BACKWARD, [fact.subject for fact in found], (REVERSED + relation,), o=obj, r=relation)
    for first, found in _two_hop_paths(objects, subjects, part_of_fact, two_hops, rng):
        relations, answers = (REVERSED + first.relation, found[0].relation), [fact.object for fact in found]
        add([first, *found], TWO_HOPS, answers, relations, o=first.object, first=first.relation, r=found[0].relation)
    return Splits(**{part: FactQuestions(tuple(facts), tuple(questions)) for part, questions in parts.items()})


def _common_part(parts: Iterable[str]) -> str | None:
    """The part that all are in, or None."""
    different = set(parts)
    return different.pop() if len(different) == 1 else None


def _two_hop_paths(
    objects: Mapping[tuple[str, str], Sequence[Fact]],
    subjects: Mapping[tuple[str, str], Sequence[Fact]],
    part_of_fact: Mapping[Fact, str],
    limit: int,
    rng: np.random.Generator,
) -> list[tuple[Fact, Sequence[Fact]]]:
    """A fact that alone has its object, and all of another relation of its subject: so many paths of each part at most
    as are its share of `limit`.
    """
    relations = defaultdict(list)
    for subject, relation in objects:
        relations[subject].append(relation)
    paths: dict[str | None, list[tuple[Fact, Sequence[Fact]]]] = {part: [] for part in (*PARTS, None)}
    for first in (found[0] for found in subjects.values() if len(found) == 1):
        for relation in relations[first.subject]:
            if relation != first.relation:
                found = objects[first.subject, relation]
                paths[_common_part(part_of_fact[fact] for fact in [first, *found])].append((first, found))
    chosen = []
    for part in PARTS:
        drawn = rng.permutation(len(paths[part]))[: round(limit * SHARES[part])]
        chosen += [paths[part][i] for i in drawn]
    return chosen


def _fill(word: str, names: Mapping[str, str]) -> list[str]:
    """The features of a word of a template: an entity is one, a relation its words."""
    if not word.startswith("{"):
        return [word]
    key = word[1:-1]
    return [names[key]] if key in "so" else names[key].split()


# ---------------------------------------------------------------------------------------------- memories
def memory_of(facts: Sequence[Fact], representation: Representation) -> list[Slot]:
    """The slots of a memory of these facts.

    triples: subject and relation to object, and reversed.  All others read documents, one of each subject with a
    sentence for each fact.  sentences: a sentence is key and value.  windows: the words around an entity to that
    entity.  centers: the same, the center being a feature of its own.  titles: these, and the same windows with the
    title in the key, to the title.
    Raises ConfigError for another representation.
    """
    if representation not in get_args(Representation):
        raise ConfigError(f"there is no memory of {representation!r}; hint: {', '.join(get_args(Representation))}")
    if representation == "triples":
        forward = [Slot((s, f"{r}:"), (o,)) for s, r, o in facts]
        return forward + [Slot((o, f"{REVERSED}{r}:"), (s,)) for s, r, o in facts]
    slots = []
    for fact in facts:
        sentence = sentence_of(fact)
        if representation == "sentences":
            slots.append(Slot(sentence, sentence))
            continue
        for position, word in enumerate(sentence):
            if word in (fact.subject, fact.object):
                window = window_around(sentence, position, encode_center=representation != "windows")
                slots.append(Slot(window, (word,)))
                if representation == "titles":
                    slots.append(Slot((*window, "title", fact.subject), (fact.subject,)))
    return list(dict.fromkeys(slots))


def sentence_of(fact: Fact) -> tuple[str, ...]:
    """A fact as a sentence of its subject's document, such as an almanac has: france internet domain .fr."""
    return (fact.subject, *fact.relation.split(), fact.object)


def window_around(
    words: Sequence[str], position: int, size: int = WINDOW, encode_center: bool = False
) -> tuple[str, ...]:
    """The words around one, itself in the middle; encode_center: it is another feature than elsewhere."""
    first = max(0, position - size // 2)
    window = list(words[first : position + size // 2 + 1])
    if encode_center:
        window[position - first] = CENTER + words[position]
    return tuple(window)
