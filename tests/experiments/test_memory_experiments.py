"""The tables of key-value memories: what they train and say, and the questions that are made about films."""

import runpy
from collections import Counter
from pathlib import Path

import pytest
import small_qa
from small_facts import SMALL, write_facts

from minattn import viz
from minattn.tasks.files import read_json
from minattn.tasks.run_folder import CONFIG, REPORT

TABLES = "key_value_tables.py"
QUICK = [argument for setting in (*SMALL, "epochs=1") for argument in ("--set", setting)]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Figures take longer than all the rest."""
    monkeypatch.setattr(viz, "save_figure", lambda _, path: path.touch())


@pytest.fixture(scope="module")
def functions():
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments" / TABLES))


def cells(table, name):
    """The cells of the row that begins with this name."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def write_films(folder):
    """Twelve films, each with a director of its own and one of two years, in the files of MetaQA."""
    folder.mkdir()
    films, directors, years = ([f"{kind} {i}" for i in range(12)] for kind in ("Film", "Director", "19"))
    (folder / "relation2text.txt").write_text("0\tdirected by\n1\trelease year\n")
    names = [*films, *directors, *years[:2], "[Rec]"]
    (folder / "entity2text.txt").write_text("".join(f"{i}\t{name}\n" for i, name in enumerate(names)))
    facts = [f"{i}\t0\t{12 + i}\n{i}\t1\t{24 + i % 2}\n" for i in range(12)] + ["26\t0\t12\n", "0\t0\t0\n"]
    for part, first in (("train", 0), ("dev", 4), ("test", 8), ("test_old", 7)):
        (folder / f"{part}.tsv").write_text("".join(facts[first : first + 4 if part != "test" else None]))
    for part, i in (("dev", 1), ("test", 2)):
        asked = [
            (f"who directed [Film {i}]?\tDirector {i}", "movie_to_director"),
            (f"when was [Film {i}] made\t19 {i % 2}", "movie_to_year"),
            (f"[Director {i + 2}] made what\tFilm {i + 2}", "director_to_movie"),
            (f"a film of [Director {i + 4}]\tFilm {i + 4}|unknown", "director_to_movie"),
        ]
        (folder / f"qa_1hop_{part}.txt").write_text("".join(f"{question}\n" for question, _ in asked))
        (folder / f"qa_1hop_{part}_qtype.txt").write_text("".join(f"{kind}\n" for _, kind in asked))
    return folder


def test_memories_and_slots_are_tabulated(call, tmp_path):
    out = tmp_path / "out"
    table = call(TABLES, "--out", out, "--facts", write_facts(tmp_path), *QUICK)
    written = (out / "key_value.md").read_text(encoding="utf-8").strip()
    assert table.strip().endswith(written)
    hits = cells(table, "triples")
    assert [0 <= float(cell) <= 100 for cell in hits[1:]] == [True] * 5
    assert hits[-1] == "93.9"
    assert cells(table, "windows, center")[-1] == ""
    found = [float(cells(table, count)[1]) for count in ("20", "50", "1000")]
    assert found == sorted(found)
    assert found[-1] == 100, "two of the relations have slots for every question"
    trained = {path: path.stat().st_mtime_ns for path in out.rglob(REPORT)}
    assert len(trained) == 8
    call(TABLES, "--out", out, "--facts", write_facts(tmp_path), *QUICK)
    assert {path: path.stat().st_mtime_ns for path in out.rglob(REPORT)} == trained, "nothing is trained again"


def test_questions_about_films_are_made_of_what_no_other_asks_for(call, functions, tmp_path):
    folder, out = write_films(tmp_path / "films"), tmp_path / "out"
    quick = ["--set", "epochs=1", "--set", "size=4", "--set", "batch_size=8"]
    table = call(TABLES, "--out", out, "--tables", "wikimovies", "--data", folder, *quick)
    assert cells(table, "entities permuted, 1 epoch")[1] == "100.0"
    files = {
        part: (out / "wikimovies" / f"{part}.tsv").read_text(encoding="utf-8") for part in ("facts", "train", "test")
    }
    assert len(files["facts"].splitlines()) == 25, "no fact twice, and none of a film and itself"
    assert "(rec)\tdirected by\tdirector 0\n" in files["facts"]
    assert "a film of [director 6]\tfilm 6\n" in files["test"], "without the name that no fact has"
    questions = [line.split("\t") for line in files["train"].splitlines()]
    kinds = Counter(question.split()[0] for question, _ in questions if not question.startswith(("[", "a")))
    assert kinds == {"who": 11, "when": 10}  # 13 films have a director and 12 a year, of which two are held out
    about = {question.partition("[")[2].partition("]")[0] for question, _ in questions if question[0] in "[a"}
    assert about == {f"director {i}" for i in range(12)} - {f"director {i}" for i in (3, 4, 5, 6)}
    assert ["[director 0] made what", "film 0|(rec)"] in questions or [
        "a film of [director 0]",
        "film 0|(rec)",
    ] in questions
    source = functions["movies"](folder, out / "wikimovies")
    assert source.train == str(out / "wikimovies" / "train.tsv")


def test_unusable_input_is_refused_in_one_line(refused, tmp_path):
    for arguments, says in (
        (("--tables", "films"), "there is no table 'films'; hint: memories, slots, wikimovies"),
        (("--tables", "wikimovies"), "needs the files of WikiMovies; hint: --data FOLDER"),
        (("--tables", "wikimovies", "--data", tmp_path / "nowhere"), "nowhere"),
        (("--facts", tmp_path / "none.tsv"), "none.tsv"),
    ):
        refused(TABLES, "--out", tmp_path / "out", *arguments, says=says, folder=tmp_path)


def test_columns_of_table_1_stand_beside_the_papers(call, tmp_path):
    out = tmp_path / "out"
    quick = [argument for setting in small_qa.SMALL[:3] + small_qa.SMALL[5:] for argument in ("--set", setting)]
    arguments = ("--data", small_qa.write_stories(tmp_path), "--out", out, "--restarts", 2, *quick)
    call("memn2n_table1.py", *arguments, "--columns", "PE,joint_RN", "--set", "linear_epochs=0")
    table = (out / "table1.md").read_text(encoding="utf-8")
    joint = read_json(out / "joint_RN" / REPORT)["test"]["tasks"]
    for task, papers in (("1", ("0.1", "0.0")), ("12", ("0.3", "0.1"))):
        separate = read_json(out / f"PE-{task}" / REPORT)["test"]["tasks"][task]
        assert cells(table, task) == [task, f"{separate:.1f} ({papers[0]})", f"{joint[task]:.1f} ({papers[1]})"]
    assert cells(table, "mean")[2] == f"{sum(joint.values()) / 2:.1f} (0.1)"
    assert read_json(out / "PE-1" / CONFIG)["config"]["noise"] == 0
    assert (out / "table1.png").exists()
