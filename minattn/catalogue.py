"""Every mechanism and network, from the records in their files: for `minattn list` and the tables of README.md.

python -m minattn.catalogue README.md        writes the tables again, between the two comments
"""

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import NamedTuple

from minattn.published import Mechanism, Network, Published

PACKAGES = ("minattn.attention", "minattn.nn", "minattn.models")

BEGIN, END = "<!-- tables of minattn.catalogue -->", "<!-- end of the tables -->"


class Entry(NamedTuple):
    """A record and the module that it stands in."""

    record: Published
    module: str

    @property
    def code(self) -> str:
        """The class or function, from the outermost package that exports it."""
        names = self.module.split(".")
        packages = [".".join(names[: i + 1]) for i in range(len(names))]
        return next(f"{name}.{self.record.code}" for name in packages if self.record.code in vars(sys.modules[name]))

    @property
    def paper(self) -> str:
        """Authors, year and title."""
        authors, year, title = self.record.paper
        return f"{authors} {year}, {title}"


def entries(kind: type[Published] = Published) -> list[Entry]:
    """The records of that kind in all packages, by year."""
    found = []
    for package in map(importlib.import_module, PACKAGES):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            records = vars(importlib.import_module(info.name)).values()
            found += [Entry(record, info.name) for record in records if isinstance(record, kind)]
    return sorted(found, key=lambda entry: entry.record.paper.year)


def markdown() -> str:
    """The tables of README.md: a line a mechanism, and a line a network."""
    lines = []
    for kind, title in ((Mechanism, "mechanism"), (Network, "network")):
        lines += [f"| {title} | paper | code | command |", "|---|---|---|---|"]
        lines += [_row(entry) for entry in entries(kind)] + [""]
    return "\n".join(lines)


def _row(entry: Entry) -> str:
    record, file = entry.record, entry.module.replace(".", "/") + ".py"
    commands = ", ".join(f"`{command}`" for command in (record.command, record.experiment) if command)
    link = f"[`{file.removeprefix('minattn/')}`]({file})"
    return f"| {record.name} | {record.paper.authors} {record.paper.year} | {link} | {commands} |"


def with_tables(text: str) -> str:
    """The text with the tables between the two comments."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def main() -> None:
    """Write the tables into the file that the command line names."""
    readme = Path(sys.argv[1])
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
