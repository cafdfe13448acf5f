"""Damage to bytes, JSON and safetensors files, drawn from a generator."""

import json
import math
from typing import Any, NamedTuple

import numpy as np

Rng = np.random.Generator

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf),
    *(
        "",
        "x",
        "0",
        "NaN",
        "cpu",
        "\x1b]0;title\x07\x1b[31m\r\x08",
        "ein wörterbuch",
        "\u202e\u0000",
        "../../etc/passwd",
    ),
    *("long " * 20_000, [], [[]], {}, {"": 0}, [0] * 1000, [None], ["a", "a"], {"a": {"a": {}}}),
    *("@deep list@", "@deep object@", "@digits@", "@surrogate@", "@exponent@", "@twice@"),
]
RAW = {
    '"@deep list@"': "[" * 100_000 + "]" * 100_000,
    '"@deep object@"': '{"a":' * 100_000 + "0" + "}" * 100_000,
    '"@digits@"': "1" * 1_000_000,
    '"@surrogate@"': '"\\ud800"',
    '"@exponent@"': "1e999999999",
    '"@twice@"': '{"a": 0, "a": 1}',
}
"""What no Python value is written as."""


def pick(rng: Rng, choices: Any) -> Any:
    """One of the choices."""
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# ---------------------------------------------------------------------------------------------- bytes
def damaged_bytes(rng: Rng, content: bytes, first: int | None = None) -> tuple[str, bytes]:
    """(what was done, the bytes); first: only the first so many are damaged."""
    end = max(1, min(len(content), first or len(content)))
    at = int(rng.integers(end))
    length = int(rng.integers(1, 40))
    junk = rng.bytes(length)
    match int(rng.integers(8)):
        case 0:
            return f"cut at {at}", content[:at]
        case 1:
            flipped = bytes([content[at] ^ (1 << int(rng.integers(8)))]) if content else b"\x01"
            return f"a bit flipped at {at}", content[:at] + flipped + content[at + 1 :]
        case 2:
            return f"{length} bytes of junk in {at}", content[:at] + junk + content[at + length :]
        case 3:
            return f"{length} bytes of junk before {at}", content[:at] + junk + content[at:]
        case 4:
            return f"{length} bytes left out at {at}", content[:at] + content[at + length :]
        case 5:
            return f"zeros from {at} on", content[:at] + bytes(len(content) - at)
        case 6:
            return "twice", content + content
        case _:
            control = pick(rng, [b"\x1b[2J", b"\x00", b"\r", b"\xff\xfe", b"\xef\xbb\xbf", b"\n\n", b"\t", b"\x85"])
            return f"{control!r} before {at}", content[:at] + control + content[at:]


# ---------------------------------------------------------------------------------------------- JSON
def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a tree of lists and dicts."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, child in children:
        found += [(tree, key), *_places(child)]
    return found


def damaged_tree(rng: Rng, tree: Any) -> tuple[str, Any]:
    """(what was done, a copy of a JSON value with one place changed)."""
    tree = json.loads(json.dumps(tree))
    places = _places(tree)
    if not places or rng.random() < 0.03:
        value = pick(rng, VALUES)
        return f"all of it {str(value)[:20]!r}", value
    # every depth alike, or the long lists of symbols would have all the damage
    container, key = pick(rng, places if rng.random() < 0.5 else [(c, k) for c, k in places if isinstance(k, str)])
    old = container[key]
    match int(rng.integers(6)):
        case 0:
            del container[key]
            return f"without {key!r}", tree
        case 1:
            container[key] = [old] if rng.random() < 0.5 else {"inside": old}
            return f"{key!r} one level deeper", tree
        case 2 if type(old) in (int, float):
            container[key] = pick(rng, [-old, old + 1, old * 2, old / 2, float(old), str(old), bool(old)])
            return f"{key!r} is {container[key]!r} in place of {old!r}", tree
        case 3 if isinstance(container, dict):
            container[pick(rng, [f"{key} ", "new", "", "\x1b[1m", key.upper()])] = old
            return f"a key beside {key!r}", tree
        case _:
            container[key] = pick(rng, VALUES)
            return f"{key!r} is {str(container[key])[:20]!r}", tree


def as_text(tree: Any) -> str:
    """JSON, the raw values among it."""
    text = json.dumps(tree)
    for name, raw in RAW.items():
        text = text.replace(name, raw)
    return text


# ---------------------------------------------------------------------------------------------- safetensors
class Parts(NamedTuple):
    """A safetensors file in parts: its header without the metadata, `meta` of these, the others, and the arrays."""

    entries: dict[str, Any]
    meta: Any
    others: dict[str, Any]
    data: bytes

    @classmethod
    def of(cls, content: bytes) -> "Parts":
        length = int.from_bytes(content[:8], "little")
        entries = json.loads(content[8 : 8 + length])
        others = entries.pop("__metadata__")
        return cls(entries, json.loads(others.pop("meta")), others, content[8 + length :])

    def joined(self) -> bytes:
        others = self.others if not isinstance(self.others, dict) else {**self.others, "meta": as_text(self.meta)}
        header = self.entries
        if isinstance(header, dict):
            header = {"__metadata__": others, **header}
        text = as_text(header).encode("utf-8", "surrogatepass")
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + self.data


def array_of(parts: Parts, name: str) -> np.ndarray:
    """A float32 array, to be written to."""
    entry = parts.entries[name]
    first, last = entry["data_offsets"]
    return np.frombuffer(parts.data[first:last], np.float32).reshape(entry["shape"]).copy()


def with_array(parts: Parts, name: str, kind: str, array: np.ndarray) -> Parts:
    """The same file with an array, which it may have already, at the end; the bytes of the old one stay unused."""
    order = [other for other in parts.entries if other != name]
    data, entries = b"", {}
    for other in order:
        entry = parts.entries[other]
        first, last = entry["data_offsets"]
        entries[other] = {**entry, "data_offsets": [len(data), len(data) + last - first]}
        data += parts.data[first:last]
    entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
    return parts._replace(entries=entries, data=data + array.tobytes())


def damaged_arrays(rng: Rng, parts: Parts) -> tuple[str, Parts]:
    """(what was done, the file): one array is another one now."""
    floats = [name for name, entry in parts.entries.items() if entry["dtype"] == "F32"]
    name = pick(rng, floats)
    array = array_of(parts, name)
    match int(rng.integers(12)):
        case 0:
            return f"{name} as int32", with_array(parts, name, "I32", array.view(np.int32))
        case 1:
            return f"{name} complex", with_array(parts, name, "C64", array.astype(np.complex64) + 1j)
        case 2:
            return f"{name} as float64", with_array(parts, name, "F64", array.astype(np.float64))
        case 3:
            return f"{name} as float16", with_array(parts, name, "F16", array.astype(np.float16))
        case 4:
            number = pick(rng, [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e30])
            array.reshape(-1)[int(rng.integers(max(1, array.size))) :] = number
            return f"{name} has {number}", with_array(parts, name, "F32", array)
        case 5:
            names = {
                f"model/{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(10_000)
            }
            return "ten thousand empty arrays", parts._replace(entries={**parts.entries, **names})
        case 6:
            return f"{name} flat", with_array(parts, name, "F32", array.reshape(-1))
        case 7:
            return f"{name} one longer", with_array(parts, name, "F32", np.append(array, np.float32(0)))
        case 8:
            return f"{name} empty", with_array(parts, name, "F32", array.reshape(-1)[:0])
        case 9:
            return "one array more", with_array(parts, pick(rng, ["model/more", "x", "", "\x1b[1m"]), "F32", array)
        case 10:
            shape = [1] * 72 + [array.size]
            found = with_array(parts, name, "F32", array)
            found.entries[name]["shape"] = shape
            return f"{name} of 73 axes", found
        case _:
            other = {key if key != name else name + "?": entry for key, entry in parts.entries.items()}
            return f"{name} renamed", parts._replace(entries=other)
