"""Settings from `key=value` and from JSON, those of a configuration inside another one included."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from minattn.errors import CheckpointError, ConfigError
from minattn.kinds import described, parsed
from minattn.tasks.config import TaskConfig, as_json, from_json, settings_of, short_key, with_settings
from minattn.tasks.fields import Count, Field, Positive
from minattn.tasks.g2p.settings import MODELS


@dataclass(frozen=True)
class Inner:
    width: Annotated[int, "units"] = 5
    blocks: tuple[int, ...] = (1, 2)
    depth: int | None = None
    size: int = 9
    symbols: int = 100

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width must be at least 1, got {self.width}")


@dataclass(frozen=True, kw_only=True)
class Sample(TaskConfig):
    model: str = "sample"
    network: Inner = Inner()
    batch_size: Annotated[Count, "examples in a batch"] = 8
    lr: Annotated[Positive, "the rate", "RATE"] = 0.5
    size: int = 3
    kind: Literal["plain", "none"] = "plain"
    fast: bool = False
    name: str | None = None

    from_data: ClassVar[tuple[str, ...]] = ("symbols",)


WHERE = Path("run/config.json")


def changed(*settings: str) -> dict[str, Any]:
    """What settings make of a sample, by path."""
    before, after = settings_of(Sample()), settings_of(with_settings(Sample(), settings))
    return {path: after[path].value for path in after if after[path] != before[path]}


# ---------------------------------------------------------------------------------------------- key=value
def test_settings_are_read_by_the_type_of_their_field():
    told = ["size=7", "lr=1e-3", "kind=none", "fast=true", "name=x", "width=2", "blocks=3,4,5", "depth=6"]
    assert changed(*told) == {
        **{"size": 7, "lr": 1e-3, "kind": "none", "fast": True, "name": "x"},
        **{"network.width": 2, "network.blocks": (3, 4, 5), "network.depth": 6},
    }
    assert type(with_settings(Sample(), ["lr=2"]).lr) is float
    assert changed("depth=3", "depth=none") == {}


def test_a_later_setting_wins():
    assert changed("size=1", "size=2") == {"size": 2}


def test_a_later_setting_that_does_not_fit_is_refused_all_the_same():
    with pytest.raises(ConfigError, match="size must be a whole number, got 'x'"):
        changed("size=1", "size=x")


def test_a_setting_of_both_is_the_outer_one_and_the_inner_one_has_its_path():
    assert changed("size=1") == {"size": 1}
    assert changed("network.size=1") == {"network.size": 1}


def test_a_name_that_several_inner_configurations_have_needs_its_path():
    @dataclass(frozen=True, kw_only=True)
    class Two(Sample):
        other: Inner = Inner()

    with pytest.raises(ConfigError, match=r"several settings 'width'; hint: network\.width or other\.width"):
        with_settings(Two(), ["width=2"])
    assert with_settings(Two(), ["other.width=2"]).other.width == 2


def test_settings_are_listed_with_their_meaning_and_without_what_the_data_decide():
    found = settings_of(Sample())
    assert found["network.width"].field == Field("width", int, "units")
    assert (found["lr"].field.help, found["lr"].field.metavar, found["lr"].value) == ("the rate", "RATE", 0.5)
    assert not any("symbols" in path for path in found)
    assert list(found)[-1].startswith("network.")
    assert [short_key(path, found) for path in ("network.width", "network.size", "lr")] == [
        "width",
        "network.size",
        "lr",
    ]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("size", "a setting has the form key=value, got 'size'"),
        ("=3", "there is no setting ''; hint: one of "),
        ("sise=3", "there is no setting 'sise'; hint: size"),
        ("wdith=3", "there is no setting 'wdith'; hint: width"),
        ("symbols=3", "there is no setting 'symbols'; hint: one of "),
        ("size=3.5", "size must be a whole number, got '3.5'"),
        ("size=", "size must be a whole number, got ''"),
        ("lr=quick", "lr must be a number, got 'quick'"),
        ("kind=odd", "kind must be one of plain, none, got 'odd'"),
        ("fast=1", "fast must be true or false, got '1'"),
        ("depth=low", "depth must be a whole number or none, got 'low'"),
        ("blocks=1,x", "blocks must be values with commas between them, each a whole number, got '1,x'"),
        ("batch_size=0", "batch_size must be at least 1, got 0"),
        ("lr=inf", "lr must be a number above 0, 1e30 at most, got inf"),
        ("width=0", "width must be at least 1, got 0"),
        ("threads=9", "threads must be at most batch_size = 8, got 9"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(setting, says):
    with pytest.raises(ConfigError) as caught:
        with_settings(Sample(), [setting])
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("kind", [int, float, bool, str, int | None, Literal["a", 2], tuple[int, ...], float | None])
def test_every_kind_of_setting_is_described_and_read(kind):
    assert described(kind) != "another value"
    text = {bool: "false", Literal["a", 2]: "2"}.get(kind, "3")
    assert str(parsed(text, kind)).lower().strip("(),") in (text, f"{text}.0")


# ---------------------------------------------------------------------------------------------- JSON
@pytest.mark.parametrize(
    "sample", [Sample(), Sample(size=1, lr=2.0, kind="none", fast=True, name="x", network=Inner(2, (7,), 3))]
)
def test_settings_survive_json(sample):
    stored = json.loads(json.dumps(as_json(sample)))
    assert from_json(Sample(), stored, WHERE) == sample


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": None}, "size is null and must be a whole number"),
        ({"size": True}, "size is true and must be a whole number"),
        ({"size": 2.0}, "size is 2.0 and must be a whole number"),
        ({"lr": "1"}, 'lr is "1" and must be a number'),
        ({"kind": "odd"}, 'kind is "odd" and must be one of plain, none'),
        ({"kind": ["plain"]}, 'kind is ["plain"] and must be one of plain, none'),
        ({"name": 3}, "name is 3 and must be text or none"),
        ({"extra": 3}, "it has 'extra', which is none of them"),
        ({"network": {**as_json(Inner()), "width": "1"}}, 'network.width is "1" and must be a whole number'),
        ({"network": {**as_json(Inner()), "extra": 1}}, "it has 'network.extra', which is none of them"),
        ({"network": 3}, "it lacks 'network.width'; it lacks 'network.blocks'"),
        ({"network": {**as_json(Inner()), "width": 0}}, "width must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_stored_settings_that_do_not_fit_are_refused(change, says):
    with pytest.raises(CheckpointError) as caught:
        from_json(Sample(), {**as_json(Sample()), **change}, WHERE)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{WHERE} does not hold the settings of this version's Sample: ")


@pytest.mark.parametrize("stored", [{}, None, [1], "text"])
def test_missing_settings_are_all_named(stored):
    with pytest.raises(CheckpointError, match="it lacks 'model'; it lacks 'network'; it lacks 'batch_size'; it lacks"):
        from_json(Sample(), stored, WHERE)


# ---------------------------------------------------------------------------------------------- types and bounds
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": 2.5}, "size must be a whole number, got 2.5; hint"),
        ({"kind": "blue"}, "kind must be one of plain, none, got 'blue'; hint"),
        ({"fast": 1}, "fast must be true or false, got 1"),
        ({"lr": "0.1"}, "lr must be a number, got '0.1'"),
    ],
)
def test_settings_of_another_type_are_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        Sample(**settings)


@pytest.mark.parametrize(
    "setting",
    [
        *("batch_size=0", "epochs=-1", "warmup=0", "beam=0", "beam=1001", "hidden=0", "embedding=-3"),
        *("alignment=0", "maxout=0"),
        *("lr=0", "lr=-1", "lr=nan", "lr=inf", "max_norm=0", "max_norm=inf", "dropout=1", "dropout=-0.1", "seed=-1"),
    ],
)
def test_g2p_refuses_settings_out_of_range_by_their_names(setting):
    with pytest.raises(ConfigError, match=f"^{setting.partition('=')[0]} must be "):
        with_settings(MODELS["rnnsearch"], [setting])


def test_every_setting_of_every_field_has_a_meaning():
    for config in MODELS.values():
        for field in dataclasses.fields(config):
            if field.name != "network":
                assert settings_of(config)[field.name].field.help
