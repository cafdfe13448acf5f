"""Tables of "Key-value memory networks for directly reading documents", on facts about countries and on WikiMovies.

    python experiments/key_value_tables.py --out runs/key_value
    python experiments/key_value_tables.py --out runs/key_value --tables wikimovies --data wikimovies_metaqa

A. Miller, A. Fisch, J. Dodge, A.-H. Karimi, A. Bordes and J. Weston, EMNLP 2016.  `memories` stores the same facts as
triples, and as documents by windows and by sentences, and trains with one hop, and without permuting the entities.
`slots` asks the network of the triples with 20 to 1,000 slots for a question.  `wikimovies` is the paper's knowledge
base, in the files of MetaQA: entity2text.txt, relation2text.txt, {train,dev,test,test_old}.tsv with all facts,
qa_1hop_{dev,test}.txt and their types in qa_1hop_{dev,test}_qtype.txt.  Its training questions are made here: the
question forms of the development questions, filled with facts that neither development nor test questions ask for, at
most as many of each type as were published.

Leaves `key_value.md` and a folder of each run in the folder, anew after every run.  What is trained there already is
not trained again, what was stopped is resumed.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import markdown_table, run, trained

from minattn.data import read_text
from minattn.data.qa.facts import FactQuestions
from minattn.data.splits import PARTS
from minattn.errors import ConfigError, DataError
from minattn.tasks.facts.answerer import FactAnswerer, hits_at_1
from minattn.tasks.facts.task import FactAnswering, FactSource
from minattn.tasks.files import read_json, write_text
from minattn.tasks.run_folder import REPORT, check_writable

TABLE = "key_value.md"
TABLES = ("memories", "slots", "wikimovies")
KINDS = ("objects", "subjects", "two hops")


class Row(NamedTuple):
    """A network: its name, what is set, and the hits@1 of the paper on WikiMovies where it has them."""

    name: str
    settings: tuple[str, ...]
    paper: float | None = None


MEMORIES = (
    Row("triples", (), 93.9),
    Row("windows, center and title", ("memory=titles",), 76.9),
    Row("windows, center", ("memory=centers",)),
    Row("windows", ("memory=windows",), 66.8),
    Row("sentences", ("memory=sentences",), 52.4),
    Row("triples, one hop", ("hops=1",)),
    Row("triples, hops as printed", ("rule=paper",)),
    Row("triples, entities not permuted", ("permute_entities=False",)),
)

SLOTS = (20, 50, 100, 200, 500, 1000)

ON_MOVIES = ("hops=1", "size=64")
MOVIES = (
    Row("entities not permuted, 10 epochs", (*ON_MOVIES, "epochs=10", "permute_entities=False"), 93.9),
    Row("entities not permuted, 3 epochs", (*ON_MOVIES, "epochs=3", "permute_entities=False"), 93.9),
    Row("entities not permuted, 1 epoch", (*ON_MOVIES, "epochs=1", "permute_entities=False"), 93.9),
    Row("entities permuted, 1 epoch", (*ON_MOVIES, "epochs=1"), 93.9),
)


def main() -> None:
    """Train and score what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/key_value"), help="folder for the runs and the tables")
    parser.add_argument("--tables", default="memories,slots", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="WikiMovies in the files of MetaQA")
    parser.add_argument("--facts", metavar="FILE", help="facts of one's own, instead of countries")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    asked = arguments.tables.split(",")
    if unknown := [name for name in asked if name not in TABLES]:
        raise ConfigError(f"there is no table {unknown[0]!r}; hint: {', '.join(TABLES)}")
    if "wikimovies" in asked and arguments.data is None:
        raise ConfigError("the table wikimovies needs the files of WikiMovies; hint: --data FOLDER")
    tables: dict[str, str] = {}

    source = FactSource(arguments.facts)
    if "memories" in asked:
        rows = []
        for row in MEMORIES:
            _, test = fitted(row, source, arguments)
            rows.append([row.name, f"{test['hits']:.1f}", *kinds(test), paper(row)])
            tables["memories"] = markdown_table(["memory", "here", *KINDS, "paper, WikiMovies"], rows)
            write_text(arguments.out / TABLE, "\n".join(tables.values()))
    if "slots" in asked:
        predictor, _ = fitted(MEMORIES[0], source, arguments)
        questions = source.load(predictor.config).test
        rows = []
        for count in SLOTS:
            in_them, right, took = with_slots(predictor, questions, count)
            rows.append([f"{count}", f"{in_them:.1f}", f"{right:.1f}", f"{took:.2f}"])
        tables["slots"] = markdown_table(["slots", "in them", "here", "ms a question"], rows)
        write_text(arguments.out / TABLE, "\n".join(tables.values()))
    if "wikimovies" in asked:
        files, rows = movies(arguments.data, arguments.out / "wikimovies"), []
        for row in MOVIES:
            predictor, test = fitted(row, files, arguments)
            in_them = reached(predictor, files.load(predictor.config).test)
            rows.append([row.name, f"{in_them:.1f}", f"{test['hits']:.1f}", paper(row)])
            tables["wikimovies"] = markdown_table(["WikiMovies", "in the slots", "here", "paper"], rows)
            write_text(arguments.out / TABLE, "\n".join(tables.values()))
    print("\n".join(tables.values()))


def fitted(row: Row, source: FactSource, arguments: argparse.Namespace) -> tuple[FactAnswerer, dict[str, Any]]:
    """The network of a row, trained, and its score on the test questions."""
    config = FactAnswering().configure([*row.settings, *arguments.set])
    folder = arguments.out / row.name.replace(",", "").replace(" ", "-")
    return trained(FactAnswering(), config, source, folder), read_json(folder / REPORT)["test"]


def kinds(test: Mapping[str, Any]) -> list[str]:
    """hits@1 of the questions of each kind."""
    return [f"{test['kinds'][kind]:.1f}" if kind in test["kinds"] else "" for kind in KINDS]


def paper(row: Row) -> str:
    """The paper's hits@1, or nothing."""
    return "" if row.paper is None else f"{row.paper:.1f}"


# ---------------------------------------------------------------------------------------------- slots
def with_slots(predictor: FactAnswerer, questions: FactQuestions, count: int) -> tuple[float, float, float]:
    """How many questions find an answer in so many slots, and are right, in percent; milliseconds of processor time."""
    predictor.config = replace(predictor.config, slots=count)
    predictor.score(questions)  # and what is done only once
    start = time.process_time()
    right, _ = predictor.score(questions)
    took = time.process_time() - start
    return reached(predictor, questions), hits_at_1(right), 1000 * took / len(questions)


def reached(predictor: FactAnswerer, questions: FactQuestions) -> float:
    """The percentage of the questions that have a right answer among the values of their slots."""
    memory = predictor.memory
    found = [{name for slot in predictor.retrieved(q.words) for name in memory[slot - 1].value} for q in questions]
    return hits_at_1(np.array([not names.isdisjoint(q.answers) for names, q in zip(found, questions, strict=True)]))


# ---------------------------------------------------------------------------------------------- WikiMovies
RELATIONS = {
    "actor": "starred actors",
    "director": "directed by",
    "genre": "has genre",
    "imdbrating": "has imdb rating",
    "imdbvotes": "has imdb votes",
    "language": "in language",
    "tag": "has tags",
    "tags": "has tags",
    "writer": "written by",
    "year": "release year",
}
"""By what the type of a question says beside "movie"."""

PUBLISHED = {
    "actor_to_movie": 8489,
    "director_to_movie": 5128,
    "movie_to_actor": 11319,
    "movie_to_director": 12602,
    "movie_to_genre": 10267,
    "movie_to_imdbrating": 268,
    "movie_to_imdbvotes": 102,
    "movie_to_language": 2602,
    "movie_to_tags": 7997,
    "movie_to_writer": 10915,
    "movie_to_year": 13848,
    "tag_to_movie": 3836,
    "writer_to_movie": 8733,
}
"""How many training questions of each type were published."""

ENTITY = re.compile(r"\[(.*)\]")


class Asked(NamedTuple):
    """A question as it stands in the files: around the name, the name, its type and the answers."""

    form: tuple[str, str]
    name: str
    type: str
    answers: tuple[str, ...]


def movies(folder: Path, out: Path, seed: int = 1) -> FactSource:
    """Write facts and questions as the task reads them; what is written already stays."""
    files = {part: out / f"{part}.tsv" for part in ("facts", *PARTS)}
    if not all(path.exists() for path in files.values()):
        names = [tidy(line.split("\t")[1]) for line in lines(folder / "entity2text.txt")]  # by the line's number
        relations = [line.split("\t")[1] for line in lines(folder / "relation2text.txt")]
        facts: dict[tuple[str, str, str], None] = {}
        for part in ("train", "dev", "test", "test_old"):
            for line in lines(folder / f"{part}.tsv"):
                subject, relation, object_ = map(int, line.split("\t"))
                if names[subject] != names[object_]:
                    facts[names[subject], relations[relation], names[object_]] = None
        known = {name for subject, _, object_ in facts for name in (subject, object_)}
        dev, test = (questions_of(folder, part, known) for part in ("dev", "test"))
        train = made(list(facts), dev, test, np.random.default_rng(seed))
        write_text(files["facts"], "".join("\t".join(fact) + "\n" for fact in facts))
        for part, questions in (("train", train), ("dev", dev), ("test", test)):
            text = (f"{q.form[0]}[{q.name}]{q.form[1]}\t{'|'.join(q.answers)}\n" for q in questions)
            write_text(files[part], "".join(text))
    return FactSource(*map(str, files.values()))


def lines(path: Path) -> list[str]:
    """The lines of a file."""
    return read_text(path).splitlines()


def tidy(name: str) -> str:
    """A name as the task reads it: in lower case, without the marks that mean something in its files."""
    return " ".join(name.lower().replace("[", "(").replace("]", ")").replace("|", "/").split())


def questions_of(folder: Path, part: str, known: Set[str]) -> list[Asked]:
    """Published questions with those of their answers that are in facts, and without those that have none of them."""
    found = []
    pairs = zip(lines(folder / f"qa_1hop_{part}.txt"), lines(folder / f"qa_1hop_{part}_qtype.txt"), strict=True)
    for line, type_ in pairs:
        question, _, answers = line.partition("\t")
        match = ENTITY.search(question)
        right = tuple(name for name in map(tidy, answers.split("|")) if name in known)
        if match is None:
            raise DataError(f"{folder}: {line[:60]!r} has no name in brackets")
        if right:
            found.append(Asked((question[: match.start()], question[match.end() :]), tidy(match[1]), type_, right))
    return found


def made(
    facts: Sequence[tuple[str, str, str]], dev: Sequence[Asked], test: Sequence[Asked], rng: np.random.Generator
) -> list[Asked]:
    """Training questions: the forms of the development questions about what neither they nor test questions ask for."""
    forms, answers = defaultdict(dict), defaultdict(lambda: defaultdict(list))
    for question in dev:
        forms[question.type][question.form] = None
    for subject, relation, object_ in facts:
        answers["movie_to", relation][subject].append(object_)
        answers["to_movie", relation][object_].append(subject)
    held = {(question.name, question.type) for question in (*dev, *test)}
    questions = []
    for type_, most in PUBLISHED.items():
        first, _, second = type_.partition("_to_")
        asked = answers["movie_to", RELATIONS[second]] if first == "movie" else answers["to_movie", RELATIONS[first]]
        names, ways = [name for name in asked if (name, type_) not in held], list(forms[type_])
        for i in rng.permutation(len(names))[:most] if ways else []:
            form = ways[int(rng.integers(len(ways)))]
            questions.append(Asked(form, names[i], type_, tuple(dict.fromkeys(asked[names[i]]))))
    return questions


if __name__ == "__main__":
    run(main)
