"""`minattn list`: every mechanism, where it was published and where it stands, and all of that is so."""

import importlib
import inspect
import pkgutil
import re

import pytest
import typer

import minattn.attention
from minattn import __version__
from minattn.catalogue import MECHANISMS
from minattn.cli.app import app, console
from minattn.cli.trainable import RECIPES
from minattn.nn import Module


def found(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.name)
def test_what_the_catalogue_names_can_be_imported(mechanism):
    assert callable(found(mechanism.code))
    assert issubclass(found(mechanism.model), Module)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.name)
def test_what_the_catalogue_tells_to_run_can_be_run(mechanism):
    program, name, *arguments = mechanism.recipe.split()
    command = typer.main.get_command(app).commands[name]
    context = command.make_context(program, arguments)  # refuses what the command does not take
    if name == "train":
        recipe, model = context.params["recipe"], context.params["model"]
        assert model is None or model in RECIPES[recipe].models


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.name)
def test_an_equation_is_the_one_of_the_code(mechanism):
    """The numbers of equations and sections that the catalogue gives stand in the file of the mechanism."""
    source = inspect.getsource(inspect.getmodule(found(mechanism.code)))
    numbers = re.findall(r"\(\d+(?:\.\d+)*\)|(?:[A-Z]\.)?\d(?:\.\d)+", mechanism.equation)
    assert numbers
    for number in numbers:
        assert number in source


def test_every_mechanism_of_attention_is_in_the_catalogue():
    listed = {found(mechanism.code) for mechanism in MECHANISMS}
    for package in pkgutil.walk_packages(minattn.attention.__path__, "minattn.attention."):
        module = importlib.import_module(package.name)
        public = [getattr(module, name) for name in getattr(module, "__all__", [])]
        for value in public:
            if inspect.isclass(value) and issubclass(value, Module):
                assert value in listed, f"{value.__name__} is missing in minattn/catalogue.py"


def test_the_list_shows_all_of_it(minattn):
    result = minattn("list")
    assert (result.status, result.err) == (0, "")
    words = " ".join(result.out.split())
    for mechanism in MECHANISMS:
        for text in (mechanism.name, mechanism.paper, mechanism.code, mechanism.model, mechanism.recipe):
            assert text in words
        assert " ".join(mechanism.equation.split()) in words


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
    refused("dance", says=["No such command 'dance'", "--help"], folder=tmp_path)


def test_the_version(minattn):
    assert minattn("--version").out == f"minattn {__version__}\n"
