"""Damaged files of a run beside its checkpoints, damaged data, and damaged files of a published model."""

import json
from pathlib import Path

import small_bert

from minattn.tasks import driver
from minattn.tasks.run_folder import CONFIG, REPORT
from minattn.training import LOG

from .commands import changed, contents, minattn
from .damage import Parts, Rng, as_text, damaged_arrays, damaged_bytes, damaged_tree, pick
from .runs import NAMES, Workshop, curves_alone, no_figures
from .settings import options_of

LONGEST = 1000  # characters of a refusal, the paths in it not counted


def case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """(what was done, what was wrong with what came of it)."""
    return pick(rng, [run_case, run_case, data_case, data_case, bert_case])(rng, workshop)


def damage(rng: Rng, path: Path) -> str:
    """Damage a file as bytes, or as the JSON that it holds; what was done."""
    content = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.7:
        done, tree = damaged_tree(rng, json.loads(content))
        path.write_text(as_text(tree))
    elif path.suffix == ".jsonl" and rng.random() < 0.7:
        lines = content.decode().splitlines()
        at = int(rng.integers(len(lines)))
        done, tree = damaged_tree(rng, json.loads(lines[at]))
        lines[at] = as_text(tree)
        path.write_text("\n".join(lines) + "\n")
    else:
        done, content = damaged_bytes(rng, content)
        path.write_bytes(content)
    return f"{path.name}: {done}"


def run_case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """config.json, report.json or the log of a run."""
    task, name = pick(rng, NAMES), pick(rng, [CONFIG, CONFIG, REPORT, LOG])
    resumes = name == LOG or bool(rng.integers(2))
    run = workshop.copy(workshop.run(task, 8 if resumes and name != REPORT else None))
    done = damage(rng, run / name)
    before = contents(run)
    driver.draw_figures = curves_alone if name == LOG else no_figures
    told = minattn("train", task, "--resume", run) if resumes else minattn("evaluate", run)
    found = told.problems(LONGEST + 3 * len(str(run)))
    after = changed(before, contents(run))
    if after and not (resumes and told.status == 0):
        found.append(f"{', '.join(after)} changed, with the status {told.status}: {told.err!r}")
    return f"{task}, {done}; {told.err.strip()}", found


def data_case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """A file of the data of a new run."""
    task = pick(rng, NAMES)
    source = workshop.source(task)
    paths = [Path(str(value)) for value in vars(source).values() if value is not None and Path(str(value)).exists()]
    path = pick(rng, paths)
    path = pick(rng, sorted(path.rglob("*.*"))) if path.is_dir() else path
    whole = path.read_bytes()
    run = workshop.scratch() / "run"
    small = workshop.small(task)
    try:
        done = damage(rng, path)
        told = minattn(
            *("train", task, "--out", run, *options_of(source)), *(f"--set={setting}" for setting in small.settings)
        )
    finally:
        path.write_bytes(whole)
    found = told.problems(LONGEST + 3 * len(str(path)))
    if told.status and contents(run.parent):
        found.append("it left something behind")
    return f"{task}, {done}; {told.err.strip()}", found


def bert_case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """A file of a published BERT."""
    folder = small_bert.write_model(workshop.scratch() / "model")
    small_bert.write_tokenizer(folder)
    path = pick(rng, sorted(folder.iterdir()))
    if path.suffix == ".safetensors":
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        parts = Parts(json.loads(content[8 : 8 + length]), {}, {}, content[8 + length :])
        if rng.random() < 0.4:
            done, parts = damaged_arrays(rng, parts)
            path.write_bytes(parts.joined())
        else:
            done, content = damaged_bytes(rng, content, pick(rng, [None, 8 + length]))
            path.write_bytes(content)
    else:
        done = damage(rng, path)
    told = minattn("embed", folder, "a cat sleeps")
    return f"bert, {path.name}: {done}; {told.err.strip()}", told.problems(LONGEST + 3 * len(str(folder)))
