"""Networks by the names of their configurations: `build("resnet50", rng)`.

A network's file enters them itself, and `minattn/models/__init__.py` imports the file:

    @register(CONFIGURATIONS)
    class ResNet(Module): ...
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from minattn.errors import ConfigError
from minattn.nn import Module
from minattn.nn.initializers import Rng

REDUCTION = 16  # r of squeeze-and-excitation where the name does not say it

Network = TypeVar("Network", bound=type[Module])


class Entry(NamedTuple):
    """A network, as a class that takes (config, rng), and one of its configurations."""

    network: type[Module]
    config: Any


ENTRIES: dict[str, Entry] = {}


def register(configurations: Mapping[str, Any]) -> Callable[[Network], Network]:
    """Enter a network under the names of its configurations.  Raises ConfigError for a name that is taken."""

    def enter(network: Network) -> Network:
        for name, config in configurations.items():
            if name in ENTRIES:
                taken = ENTRIES[name].network.__name__
                raise ConfigError(f"two networks are named {name!r}: {taken} and {network.__name__}")
            ENTRIES[name] = Entry(network, config)
        return network

    return enter


def names(setting: str | None = None) -> list[str]:
    """Every name, network by network; of those alone whose configuration has a setting, such as "classes"."""
    return [name for name, entry in ENTRIES.items() if setting is None or hasattr(entry.config, setting)]


def configuration(name: str, *, se: bool = False, **changes: Any) -> Any:
    """Return the configuration of that name, with changes to its fields; None keeps a field.

    se=True: with squeeze-and-excitation, r = 16 where the configuration has none.  Raises ConfigError for a name that
    does not exist, and for SE or a change where the configuration has no such field.
    """
    if name not in ENTRIES:
        near = difflib.get_close_matches(name.lower(), ENTRIES, n=4, cutoff=0.5)
        hint = " or ".join(near) or "a name that `minattn summary` lists"
        raise ConfigError(f"there is no network {name!r}; hint: {hint}")
    config = ENTRIES[name].config
    if se and not hasattr(config, "se"):
        raise ConfigError(f"{name} has no form with Squeeze-and-Excitation; hint: leave it out")
    if se and config.se is None:
        changes["se"] = REDUCTION
    changes = {field: value for field, value in changes.items() if value is not None}
    if lacking := [field for field in changes if not hasattr(config, field)]:
        raise ConfigError(f"{name} has no {lacking[0]}; hint: leave it out")
    return dataclasses.replace(config, **changes)


def build(name: str, rng: Rng, *, se: bool = False, **changes: Any) -> Module:
    """Return the network of that name; se and changes are those of `configuration`, rng draws the parameters."""
    config = configuration(name, se=se, **changes)
    return ENTRIES[name].network(config, rng)
