"""Records of published mechanisms and networks: one at the end of each file, collected by `minattn.catalogue`."""

from dataclasses import dataclass
from typing import NamedTuple


class Paper(NamedTuple):
    """A publication, by its authors as they are cited."""

    authors: str
    year: int
    title: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """The fields of every record."""

    name: str
    paper: Paper
    code: str  # the class or function, by its name in the record's file
    command: str  # that trains or uses it
    experiment: str = ""  # a script that measures it
    equation: str = ""  # with the numbers that the paper prints, else its section


@dataclass(frozen=True, kw_only=True)
class Mechanism(Published):
    """An attention mechanism, or another layer with a paper of its own."""

    model: str  # the network that the command trains, as it is imported


class Network(Published):
    """A network with its published sizes."""
