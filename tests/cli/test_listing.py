"""`minattn list` and the tables of the README: what the records of mechanisms and networks say is so."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest
import typer

import minattn.attention
from minattn import __version__
from minattn.catalogue import BEGIN, END, entries, main, markdown, with_tables
from minattn.cli.app import app, console
from minattn.cli.listing import fields
from minattn.models import registry
from minattn.nn import Module
from minattn.published import Mechanism, Network
from minattn.tasks.registry import TASKS

ROOT = Path(__file__).parents[2]

every = pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.record.name)


def found(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@every
def test_what_a_record_names_can_be_imported(entry):
    assert callable(found(entry.code))
    if isinstance(entry.record, Mechanism):
        assert issubclass(found(entry.record.model), Module)
    else:
        assert issubclass(found(entry.code), Module)
    assert not entry.record.experiment or (ROOT / entry.record.experiment).is_file()


@every
def test_the_command_of_a_record_can_be_run_and_trains_its_network(entry):
    program, name, *arguments = entry.record.command.split()
    command = typer.main.get_command(app).commands[name]
    context = command.make_context(program, arguments)  # refuses what the command does not take
    if name == "train":
        task, train, rest = command.resolve_command(context, arguments)
        params = train.make_context(task, rest, parent=context).params  # and what the task's command does not take
        config = TASKS[task].configure(params["settings"] or [], params.get("model"))
        if task == "images":
            network = entry.record.model if isinstance(entry.record, Mechanism) else entry.code
            assert registry.ENTRIES[config.model].network is found(network)


@every
def test_the_numbers_of_an_equation_are_those_of_its_file(entry):
    """Equations and sections that the record numbers stand in the docstring of the file."""
    docstring = importlib.import_module(entry.module).__doc__
    numbers = re.findall(r"\(\d+\)|(?:A\.)?\d(?:\.\d)+", entry.record.equation)
    assert numbers or isinstance(entry.record, Network)
    for number in numbers:
        assert number in docstring, number


def test_every_mechanism_of_attention_has_a_record():
    listed = {found(entry.code) for entry in entries()}
    for package in pkgutil.walk_packages(minattn.attention.__path__, "minattn.attention."):
        module = importlib.import_module(package.name)
        public = [getattr(module, name) for name in getattr(module, "__all__", [])]
        for value in public:
            if inspect.isclass(value) and issubclass(value, Module):
                assert value in listed, f"{value.__name__} has no record in its file"


def test_every_network_has_a_record():
    listed = {found(entry.code) for entry in entries(Network)}
    assert {entry.network for entry in registry.ENTRIES.values()} <= listed


def test_the_tables_of_the_readme_are_those_of_the_records():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == with_tables(text), "hint: python -m minattn.catalogue README.md"
    for _, link in re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", markdown()):
        assert (ROOT / link).is_file()


def test_the_tables_are_written_between_the_comments(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["catalogue", str(readme)])
    main()
    assert readme.read_text() == f"before\n{BEGIN}\n\n{markdown()}\n{END}\nafter\n"
    assert "| additive attention | Bahdanau, Cho & Bengio 2015 |" in markdown()


def test_the_list_shows_all_of_it(minattn):
    result = minattn("list")
    assert (result.status, result.err) == (0, "")
    words = " ".join(result.out.split())
    for entry in entries():
        for text in (entry.record.name, *fields(entry).values()):
            assert " ".join(text.split()) in words


def test_no_line_of_the_list_is_wider_than_the_terminal(minattn, monkeypatch):
    monkeypatch.setattr(console, "width", 60)
    assert max(map(len, minattn("list").out.splitlines())) <= 60


def test_help_names_every_command(minattn):
    for arguments in ([], ["--help"]):
        result = minattn(*arguments)
        assert (result.status, result.err) == (0, "")
        for command in ("train", "evaluate", "predict", "list"):
            assert f"  {command} " in result.out


def test_an_unknown_command_is_refused(refused, tmp_path):
    refused("dance", says=["there is no command 'dance'; hint: one of train, evaluate, "], folder=tmp_path)


def test_the_version(minattn):
    assert minattn("--version").out == f"minattn {__version__}\n"
