"""A run on facts that takes a second: people, where they live, what they eat, and what is theirs alone."""

from pathlib import Path

NAMES = [f"{first}{last}" for first in ("an", "be", "cor", "dav", "el", "fay") for last in ("a", "o", "ine", "y")]
PLACES = ("old town", "the hill", "harbor", "park")
FOOD = ("bread", "soup", "rice", "green beans")
SMALL = ("size=8", "slots=6", "two_hops=20", "epochs=4", "lr=0.02", "batch_size=16")


def facts_text() -> str:
    lines = []
    for i, name in enumerate(NAMES):
        lines += [f"{name}\thome\t{PLACES[i % 4]}\n", f"{name}\tdish\t{FOOD[i // 4 % 4]}\n", f"{name}\tnumber\t{i}\n"]
        lines += [f"{name}\tdog\tdog {i}\n", f"{name}\thorse\thorse {i}\n"]
    return "".join(lines)


def write_facts(folder: Path) -> str:
    """A knowledge base in `folder`: its path."""
    (folder / "facts.tsv").write_text(facts_text(), encoding="utf-8")
    return str(folder / "facts.tsv")
