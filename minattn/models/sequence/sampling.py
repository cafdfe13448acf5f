"""Sampling from a language model, symbol by symbol."""

import numpy as np
from jaxtyping import Float, Integer

from minattn.errors import ConfigError
from minattn.models.sequence.search import refuse_nan
from minattn.nn.initializers import Rng


def checked_prompt(
    prompt: Integer[np.ndarray, " n"], temperature: float, top_k: int | None, longest: int | None
) -> Integer[np.ndarray, " n"]:
    """Return the prompt.  Raises ConfigError for an empty one, and for invalid numbers."""
    prompt = np.asarray(prompt)
    if len(prompt) == 0:
        raise ConfigError("a prompt needs at least one symbol, got none; hint: start with a line break")
    if not 0 <= temperature < np.inf or (top_k is not None and top_k < 1):
        raise ConfigError(
            f"temperature must be a finite number of at least 0 and top_k, if given, at least 1; got {temperature} "
            f"and {top_k}"
        )
    if longest is not None and longest < 1:
        raise ConfigError(f"longest, if given, must be at least 1, got {longest}")
    return prompt


def draw(logits: Float[np.ndarray, " symbols"], rng: Rng, temperature: float, top_k: int | None) -> int:
    """Draw a symbol from softmax(logits / temperature), among the top_k likeliest."""
    refuse_nan(logits)
    if temperature == 0:
        return int(np.argmax(logits))
    likeliest = np.argsort(-logits, kind="stable")[:top_k]
    with np.errstate(over="ignore"):  # a temperature near 0 makes the unlikely impossible
        p = np.exp((logits[likeliest] - logits[likeliest[0]]) / temperature)
    return int(rng.choice(likeliest, p=p / p.sum()))
