"""Eleven of the bAbI tasks, simulated: questions about people who go somewhere, pick something up, and so on.

    J. Weston et al. (2015). Towards AI-complete question answering: a set of prerequisite toy tasks. arXiv:1502.05698.

Each task has a small world that changes from sentence to sentence, the words of the authors' data, and as many
questions.  The worlds are written from the paper's descriptions: how often what happens follows the authors' data
roughly, and numbers measured here are not those of their files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minattn.data.qa.stories import Question, Sentence, Stories, held_out, words_of
from minattn.data.splits import Splits
from minattn.errors import ConfigError

PEOPLE = ("Mary", "John", "Daniel", "Sandra")
PLACES = ("kitchen", "bathroom", "bedroom", "garden", "hallway", "office")
THINGS = ("football", "milk", "apple")
WENT = ("went", "went back", "moved", "journeyed", "travelled")
TOOK = ("got", "took", "grabbed", "picked up")
DROPPED = ("dropped", "discarded", "left", "put down")

QUESTIONS = 5  # of a story


class Story:
    """A story that is being told."""

    def __init__(self, task: int, rng: np.random.Generator) -> None:
        self.task, self.rng = task, rng
        self.sentences: list[Sentence] = []
        self.questions: list[Question] = []

    def say(self, text: str) -> int:
        """Tell a sentence; returns its place."""
        self.sentences.append(words_of(text))
        return len(self.sentences) - 1

    def ask(self, text: str, answer: str, *facts: int) -> None:
        """Ask a question about what was told."""
        self.questions.append(Question(self.task, tuple(self.sentences), words_of(text), answer, facts))

    def one(self, choices: Sequence[Any], but: Any = None) -> Any:
        """One of these, but not that one."""
        left = [choice for choice in choices if choice != but]
        return left[int(self.rng.integers(len(left)))]

    def some(self, choices: Sequence[Any], count: int) -> list[Any]:
        """So many of these, in any order."""
        return [choices[i] for i in self.rng.permutation(len(choices))[:count]]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)


# ---------------------------------------------------------------------------------------------- people and things
class House:
    """People who go from place to place and carry things; all begin somewhere, which nobody is told.

    known: the place of a person and the sentence that told it.  path: of a thing, the places where it is known to have
    been, each with the sentences that tell it.  there: how often a thing is taken, and dropped, "there".
    """

    def __init__(self, story: Story, there: tuple[float, float] = (1.0, 0.2)) -> None:
        self.story, self.there = story, there
        self.place = {one: story.one(PLACES) for one in (*PEOPLE, *THINGS)}
        self.known: dict[str, tuple[str, int]] = {}
        self.holder: dict[str, str] = {}
        self.taken: dict[str, int] = {}
        self.path: dict[str, list[tuple[str, tuple[int, ...]]]] = {thing: [] for thing in THINGS}

    def go(self) -> None:
        """Somebody goes somewhere else, with what they carry."""
        story = self.story
        person = story.one(PEOPLE)
        place = self.place[person] = story.one(PLACES, but=self.place[person])
        told = story.say(f"{person} {story.one(WENT)} to the {place}")
        self.known[person] = place, told
        for thing, holder in self.holder.items():
            if holder == person:
                self.place[thing] = place
                self.path[thing].append((place, (self.taken[thing], told)))

    def handle(self) -> bool:
        """Somebody takes or drops a thing; False where none can be."""
        story = self.story
        free = [(person, thing) for person in PEOPLE for thing in THINGS if self._can_take(person, thing)]
        held = [(person, thing) for thing, person in self.holder.items()]
        if not free and not held:
            return False
        person, thing = story.one(free if free and (not held or story.chance(0.55)) else held)
        taking = thing not in self.holder
        where = " there" if story.chance(self.there[not taking]) else ""
        told = story.say(f"{person} {story.one(TOOK if taking else DROPPED)} the {thing}{where}")
        if taking:
            self.holder[thing], self.taken[thing] = person, told
        else:
            del self.holder[thing]
        if person in self.known:
            place, seen = self.known[person]
            if self.path[thing] and self.path[thing][-1][0] == place:
                self.path[thing].pop()
            self.path[thing].append((place, (told, seen)))
        return True

    def _can_take(self, person: str, thing: str) -> bool:
        return thing not in self.holder and self.place[person] == self.place[thing]

    def happen(self, share: float) -> None:
        """Two things happen; `share` of what can be handled is."""
        for _ in range(2):
            if not (self.story.chance(share) and self.handle()):
                self.go()


def one_fact(story: Story) -> None:
    """Task 1, single supporting fact."""
    house = House(story)
    for _ in range(QUESTIONS):
        house.happen(0.0)
        person = story.one(list(house.known))
        place, told = house.known[person]
        story.ask(f"Where is {person}", place, told)


def two_facts(story: Story) -> None:
    """Task 2, two supporting facts."""
    house = House(story)
    while len(story.questions) < QUESTIONS:
        house.happen(0.4)
        things = [thing for thing, path in house.path.items() if path]
        if things and story.chance(0.5):
            thing = story.one(things)
            place, facts = house.path[thing][-1]
            story.ask(f"Where is the {thing}", place, *facts)


def three_facts(story: Story) -> None:
    """Task 3, three supporting facts."""
    house = House(story, there=(0.2, 0.2))
    while len(story.questions) < QUESTIONS:
        house.happen(0.4)
        things = [thing for thing, path in house.path.items() if len(path) > 1]
        if things and story.chance(0.2):
            thing = story.one(things)
            path = house.path[thing]
            place = story.one([where for where, _ in path[1:]])
            last = max(i for i, (where, _) in enumerate(path) if where == place)
            (before, told), (_, facts) = path[last - 1], path[last]
            story.ask(f"Where was the {thing} before the {place}", before, *facts, told[1])


def yes_or_no(story: Story) -> None:
    """Task 6, yes/no questions."""
    house = House(story)
    while len(story.questions) < QUESTIONS:
        house.happen(0.4)
        if house.known:
            person = story.one(list(house.known))
            place, told = house.known[person]
            asked = place if story.chance(0.5) else story.one(PLACES, but=place)
            story.ask(f"Is {person} in the {asked}", "yes" if asked == place else "no", told)


def conjunction(story: Story) -> None:
    """Task 12, conjunction."""
    known = {}
    for _ in range(QUESTIONS):
        for _ in range(2):
            pair, place = story.some(PEOPLE, 2), story.one(PLACES)
            told = story.say(f"{pair[0]} and {pair[1]} {story.one(WENT)} to the {place}")
            known |= dict.fromkeys(pair, (place, told))
        person = story.one(list(known))
        story.ask(f"Where is {person}", *known[person])


# ---------------------------------------------------------------------------------------------- what is not certain
def negation(story: Story) -> None:
    """Task 9, simple negation."""
    known: dict[str, tuple[str, bool, int]] = {}  # a place, whether the person is there, and the sentence
    for _ in range(QUESTIONS):
        for _ in range(2):
            person, place = story.one(PEOPLE), story.one(PLACES)
            if story.chance(0.27):
                told = story.say(f"{person} is {story.one(('no longer', 'not'))} in the {place}")
                known[person] = place, False, told
            else:
                said = "is in" if story.chance(0.33) else f"{story.one(WENT)} to"
                known[person] = place, True, story.say(f"{person} {said} the {place}")
        person = story.one(list(known))
        place, there, told = known[person]
        asked = place if not there or story.chance(0.5) else story.one(PLACES, but=place)
        story.ask(f"Is {person} in the {asked}", "yes" if there and asked == place else "no", told)


def uncertainty(story: Story) -> None:
    """Task 10, indefinite knowledge."""
    people = ("Fred", "Bill", "Mary", "Julie")
    places = ("school", "park", "office", "kitchen", "bedroom", "cinema")
    known: dict[str, tuple[list[str], int]] = {}  # the places where somebody may be, and the sentence
    for _ in range(QUESTIONS):
        for _ in range(2):
            person, kind = story.one(people), story.rng.random()
            where = story.some(places, 2 if kind < 0.25 else 1)
            if kind < 0.25:
                told = story.say(f"{person} is either in the {where[0]} or the {where[1]}")
            else:
                told = story.say(f"{person} {'is in' if kind < 0.5 else story.one(WENT) + ' to'} the {where[0]}")
            known[person] = where, told
        person = story.one(list(known))
        where, told = known[person]
        asked = story.one(where if story.chance(0.5) else [place for place in places if place not in where])
        answer = "no" if asked not in where else "maybe" if len(where) == 2 else "yes"
        story.ask(f"Is {person} in the {asked}", answer, told)


# ---------------------------------------------------------------------------------------------- relations
def two_arguments(story: Story) -> None:
    """Task 4, two argument relations."""
    places = story.some(PLACES, 3)
    relation, opposite = story.one((("north", "south"), ("south", "north"), ("east", "west"), ("west", "east")))
    pairs = [(places[0], places[1]), (places[1], places[2])]  # the first is `relation` of the second
    told = {}
    for pair in story.some(pairs, 2):
        said, (a, b) = story.one(((relation, pair), (opposite, pair[::-1])))
        told[pair] = story.say(f"The {a} is {said} of the {b}")
    pair = story.one(pairs)
    said, (a, b) = story.one(((relation, pair), (opposite, pair[::-1])))
    if story.chance(0.5):
        story.ask(f"What is {said} of the {b}", a, told[pair])
    else:
        story.ask(f"What is the {a} {said} of", b, told[pair])


def deduction(story: Story) -> None:
    """Task 15, basic deduction."""
    kinds = {"mouse": "Mice", "wolf": "Wolves", "cat": "Cats", "sheep": "Sheep"}
    names = ("Gertrude", "Winona", "Emily", "Jessica")
    of = {name: story.one(list(kinds)) for name in names}
    feared = {kind: story.one(list(kinds), but=kind) for kind in kinds}
    told = {}
    for subject in story.some([*names, *kinds], 8):
        if subject in of:
            told[subject] = story.say(f"{subject} is a {of[subject]}")
        else:
            told[subject] = story.say(f"{kinds[subject]} are afraid of {kinds[feared[subject]]}")
    for _ in range(4):
        name = story.one(names)
        story.ask(f"What is {name} afraid of", feared[of[name]], told[name], told[of[name]])


def induction(story: Story) -> None:
    """Task 16, basic induction: the color of one of a kind is that of the others, of which there is one at least."""
    kinds, colors = ("frog", "lion", "swan", "rhino"), ("green", "white", "gray", "yellow")
    asked, other, *rest = story.some(("Lily", "Bernhard", "Brian", "Julius", "Greg"), 5)
    kind, color = story.one(kinds), story.one(colors)
    of = {asked: kind, other: kind} | {name: story.one(kinds) for name in rest}
    colored = {name: color if of[name] == kind else story.one(colors) for name in (other, *rest)}
    order = story.some([asked, *colored, *colored], 9)
    told: dict[tuple[str, bool], int] = {}
    for name in order:
        again = (name, False) in told  # the kind is told first
        told[name, again] = story.say(f"{name} is {colored[name]}" if again else f"{name} is a {of[name]}")
    story.ask(f"What color is {asked}", color, told[asked, False], told[other, False], told[other, True])


def sizes(story: Story) -> None:
    """Task 18, size reasoning: what follows from two sentences."""
    order = ["chocolate", "box of chocolates", *story.some(("box", "chest", "suitcase", "container"), 4)]  # by size
    chains: list[tuple[str, str, int, int]] = []
    while not chains:
        story.sentences.clear()
        for _ in range(5):
            small, large = (order[i] for i in sorted(story.some(range(6), 2)))
            story.say(story.one((f"The {small} fits inside the {large}", f"The {large} is bigger than the {small}")))
        chains = _chains(story.sentences, order)
    for _ in range(QUESTIONS):
        small, large, *facts = story.one(chains)
        a, b = story.one(((small, large), (large, small)))
        if story.chance(0.5):
            story.ask(f"Is the {a} bigger than the {b}", "yes" if a == large else "no", *facts)
        else:
            story.ask(f"Does the {a} fit in the {b}", "yes" if a == small else "no", *facts)


def _chains(sentences: Sequence[Sentence], order: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """(small, large, the sentences of both steps) of all pairs that two sentences put in order and no single one."""
    told: dict[tuple[str, str], int] = {}
    for i, words in enumerate(sentences):
        text = " ".join(words)
        for small in order:
            for large in order:
                if text in (f"the {small} fits inside the {large}", f"the {large} is bigger than the {small}"):
                    told[small, large] = i
    return [
        (small, large, i, j)
        for (small, middle), i in told.items()
        for (other, large), j in told.items()
        if other == middle and (small, large) not in told
    ]


TASKS: dict[int, Callable[[Story], None]] = {
    1: one_fact,
    2: two_facts,
    3: three_facts,
    4: two_arguments,
    6: yes_or_no,
    9: negation,
    10: uncertainty,
    12: conjunction,
    15: deduction,
    16: induction,
    18: sizes,
}
"""By the task's number; each tells one story."""


def simulate(task: int, questions: int, seed: int) -> Stories:
    """So many questions of a task; the same for the same seed.  Raises ConfigError for a task that is not simulated."""
    if task not in TASKS:
        raise ConfigError(
            f"task {task} is not simulated; hint: one of {', '.join(map(str, TASKS))}, or --data FOLDER with its files"
        )
    rng, found = np.random.default_rng([seed, task]), []
    while len(found) < questions:
        story = Story(task, rng)
        TASKS[task](story)
        found += story.questions
    return Stories(tuple(found[:questions]))


def load_simulated(task: int | None = None, questions: int = 1000, seed: int = 0) -> Splits[Stories]:
    """All tasks that are simulated, or one: so many questions to train on, a tenth of them held out, and to test.

    Raises ConfigError for a task that is not simulated.
    """
    tasks = list(TASKS) if task is None else [task]
    train, test = ([simulate(number, questions, 2 * seed + part) for number in tasks] for part in (0, 1))
    return held_out(train, test)
