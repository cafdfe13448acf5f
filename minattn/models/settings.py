"""Settings that image networks share, and checks of them."""

import dataclasses
import typing
from typing import Annotated, Any, Literal

from minattn.errors import ConfigError
from minattn.kinds import described, fits, shown
from minattn.nn import initializers

Reduction = Annotated[int | None, "r: reduction of squeeze-and-excitation; none: without it"]
Classes = Annotated[int, "classes to tell apart"]
Channels = Annotated[int, "channels of an image: 3 for RGB, 1 for gray"]
Side = Annotated[int, "side of the images that the network is built for"]
DropoutRate = Annotated[float, "rate of dropout in training"]


def check_sizes(config: Any, *names: str) -> None:
    """Raise ConfigError unless these settings are whole numbers from 1 on, and all are what their annotations say."""
    initializers.check_sizes(**{name: getattr(config, name) for name in names})
    for field in dataclasses.fields(config):
        kind, value = (typing.get_args(field.type) or (field.type,))[0], getattr(config, field.name)
        if dataclasses.is_dataclass(kind) or typing.get_origin(kind) is Literal:  # `check_choices` names the choices
            continue
        if not fits(value, kind):
            words = "True or False" if kind is bool else described(kind)
            raise ConfigError(f"{field.name} must be {words}, got {shown(value)}; hint: another value")
        if isinstance(value, int) and abs(value) > initializers.LARGEST:
            raise ConfigError(f"{field.name} must be at most {initializers.LARGEST:,}, got {shown(value)}; hint: less")


def check_settings(config: Any, *sizes: str) -> None:
    """Raise ConfigError unless these settings of an image network, and those that all of them have, are possible."""
    se = ["se"] if getattr(config, "se", None) is not None else []
    check_sizes(config, "classes", "channels", "size", *sizes, *se)
    dropout = getattr(config, "dropout", 0.0)
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be in [0, 1), got {dropout}; hint: 0 for no dropout")


def check_choices(config: Any, **choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless each of these settings is one of its choices."""
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            known = ", ".join(f'"{choice}"' for choice in allowed)
            raise ConfigError(f"{name} must be one of {known}; got {getattr(config, name)!r}; hint: one of these")
