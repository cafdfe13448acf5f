"""Damaged and foreign checkpoints, which `evaluate` and `train --resume` are given."""

import os
from pathlib import Path

from minattn.training import BEST, LAST, LOG

from .commands import changed, contents, minattn
from .damage import Parts, Rng, damaged_arrays, damaged_bytes, damaged_tree, pick
from .runs import NAMES, Workshop


def case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """(what was done, what was wrong with what came of it)."""
    task = pick(rng, NAMES)
    resumes = bool(rng.integers(2))
    run = workshop.copy(workshop.run(task, 8 if resumes else None))
    path = run / (LAST if resumes else BEST)
    done = replaced(rng, path) if rng.random() < 0.1 else damaged(rng, path)
    before = contents(run)
    told = minattn("train", task, "--resume", run) if resumes else minattn("evaluate", run)
    found = told.problems()
    after = changed(before, contents(run))
    diverged = "training diverged" in told.err and set(after) <= {BEST, LOG}  # parameters may be what they like
    if after and not (resumes and (told.status == 0 or diverged)):
        found.append(f"{', '.join(after)} changed, with the status {told.status}: {told.err!r}")
    if "whole" in done and told.status:
        found.append(f"a whole file is refused: {told.err!r}")
    return f"{task}, {path.name}: {done}; {told.err.strip() or told.out.strip().splitlines()[-1:]}", found


def damaged(rng: Rng, path: Path) -> str:
    """Damage a checkpoint; what was done."""
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    parts = Parts.of(content)
    match int(rng.integers(8)):
        case 0:
            done, content = damaged_bytes(rng, content)
        case 1:
            done, content = damaged_bytes(rng, content, header)
        case 2:
            done, entries = damaged_tree(rng, parts.entries)
            content = parts._replace(entries=entries).joined()
        case 3:
            done, others = damaged_tree(rng, parts.others)
            content = parts._replace(others=others).joined()
        case 4:
            done, parts = damaged_arrays(rng, parts)
            content = parts.joined()
        case _:
            done, meta = damaged_tree(rng, parts.meta)
            content = parts._replace(meta=meta).joined()
    path.write_bytes(content)
    return done


def replaced(rng: Rng, path: Path) -> str:
    """Put something else in the place of a checkpoint; what it is."""
    content = path.read_bytes()
    path.unlink()
    match int(rng.integers(7)):
        case 0:
            path.symlink_to("nowhere")
            return "a broken link"
        case 1:
            path.symlink_to(path.name)
            return "a link to itself"
        case 2:
            path.mkdir()
            return "a folder"
        case 3:
            os.mkfifo(path)
            return "a pipe"
        case 4:
            path.symlink_to("/dev/zero")
            return "a device"
        case 5:
            path.write_bytes(b"")
            return "an empty file"
        case _:
            path.with_name("elsewhere").write_bytes(content)
            path.symlink_to("elsewhere")
            return "a link to the whole file"
