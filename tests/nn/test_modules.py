"""Modules: what is found inside them, by which names, and how their state travels."""

import copy
import string
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.errors import ConfigError, MinattnError, ShapeError
from minattn.nn import Buffer, Dropout, Embedding, Linear, Module, Parameter, initializers
from minattn.testing import strategies

# ---------------------------------------------------------------------------------------------- nested structures
# A structure is drawn as a description, from which modules with equal names and different numbers can be built:
# ("parameter", shape), ("buffer", shape), ("other",), or ("module" | "dict", {key: ..}) and ("list" | "tuple", [..]).
KEYS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=3)
ATTRIBUTES = st.sampled_from(["weight", "bias", "inner", "layers", "left", "right"])
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["parameter", "buffer"]), strategies.shapes(max_dims=2, max_side=3)),
    st.just(("other",)),
)


def modules(parts):
    return st.tuples(st.just("module"), st.dictionaries(ATTRIBUTES, parts, max_size=4))


def parts_of(parts):
    return st.one_of(
        modules(parts),
        st.tuples(st.just("dict"), st.dictionaries(KEYS, parts, max_size=3)),
        st.tuples(st.sampled_from(["list", "tuple"]), st.lists(parts, max_size=3)),
    )


STRUCTURES = modules(st.recursive(LEAVES, parts_of, max_leaves=8))


def build(structure, rng):
    kind = structure[0]
    if kind == "parameter":
        return Parameter(rng.standard_normal(structure[1]).astype(np.float32))
    if kind == "buffer":
        return Buffer(rng.integers(0, 100, structure[1]))
    if kind == "other":
        return rng.choice([None, 3, "text", len])
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](build(part, rng) for part in structure[1])
    built = {key: build(part, rng) for key, part in structure[1].items()}
    if kind == "dict":
        return built
    module = Module()
    for name, value in built.items():
        setattr(module, name, value)
    return module


def names_in(structure, kind, path=()):
    """The names of all parameters, or all buffers, in a structure, in order."""
    if structure[0] == kind:
        return [".".join(path)]
    if structure[0] in ("module", "dict"):
        inner = structure[1].items()
    elif structure[0] in ("list", "tuple"):
        inner = ((str(i), part) for i, part in enumerate(structure[1]))
    else:
        inner = ()
    return [name for key, part in inner for name in names_in(part, kind, (*path, key))]


@given(STRUCTURES)
def test_names_are_attribute_paths_in_order(structure):
    module = build(structure, np.random.default_rng(0))
    assert list(module.named_parameters().keys()) == names_in(structure, "parameter")
    assert list(module.named_buffers().keys()) == names_in(structure, "buffer")
    assert [id(p) for p in module.parameters()] == [id(p) for p in module.named_parameters().values()]
    assert module.count_parameters() == sum(p.size for p in module.parameters())


@given(STRUCTURES)
def test_state_travels_to_a_module_of_the_same_structure(structure):
    first, second = (build(structure, np.random.default_rng(seed)) for seed in (0, 1))
    state = first.state_dict()
    assert set(state) == set(names_in(structure, "parameter") + names_in(structure, "buffer"))
    second.load_state_dict(state)
    for name, tensor in {**second.named_parameters(), **second.named_buffers()}.items():
        np.testing.assert_array_equal(tensor.data, state[name])
        assert tensor.dtype == (np.float32 if isinstance(tensor, Parameter) else np.int64)
    for array in state.values():  # copies on both ways
        array[...] = -1
    for module in (first, second):
        for name, array in module.state_dict().items():
            assert (array != -1).all(), name


@given(STRUCTURES)
def test_train_and_eval_reach_every_module(structure):
    module = build(structure, np.random.default_rng(0))
    inner = module.named_modules()
    assert inner[""] is module
    assert len(inner) == 1 + str(structure[1]).count("('module'")
    assert all(m.training for m in inner.values())
    assert module.eval() is module
    assert not any(m.training for m in inner.values())
    module.train()
    assert all(m.training for m in inner.values())


@given(structure=STRUCTURES, data=st.data())
def test_a_state_that_does_not_fit_is_refused_whole(structure, data):
    module = build(structure, np.random.default_rng(0))
    before = module.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    subsets = st.sets(st.sampled_from(sorted(state))) if state else st.just(set())
    missing, misshaped = data.draw(subsets), data.draw(subsets)
    unexpected = data.draw(st.sets(st.sampled_from(["extra", "inner.extra", "layers.0.extra"])))
    for name in misshaped:
        state[name] = np.zeros((*state[name].shape, 2))
    for name in missing:
        del state[name]
    state.update({name: np.zeros(1) for name in unexpected})
    if not missing | misshaped | unexpected:
        module.load_state_dict(state)
        return
    with pytest.raises(ShapeError) as error:
        module.load_state_dict(state)
    problems = str(error.value).partition("; ")[2].partition("; hint")[0]
    listed = dict(part.split(": ") for part in problems.split("; "))
    assert set(listed.get("missing", "").split(", ")) - {""} == missing
    assert set(listed.get("unexpected", "").split(", ")) - {""} == unexpected
    for name in misshaped - missing:
        assert f"{name} is {(*before[name].shape, 2)}, expected {before[name].shape}" in listed["wrong shapes"]
    assert ("wrong shapes" in listed) == bool(misshaped - missing)
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# ---------------------------------------------------------------------------------------------- single traits
class Tied(Module):
    """An embedding that is also the output weight, and a layer that is used twice."""

    def __init__(self):
        self.embedding = Parameter(np.zeros((5, 3), np.float32))
        self.layer = Linear(3, 3, np.random.default_rng(0))
        self.again = [self.layer, {"weight": self.embedding}]
        self.mean = Buffer(np.zeros(3, np.float32))


def test_what_is_shared_appears_once_under_its_first_name():
    tied = Tied()
    assert list(tied.named_parameters().keys()) == ["embedding", "layer.weight", "layer.bias"]
    assert list(tied.named_modules().keys()) == ["", "layer"]
    assert tied.count_parameters() == 5 * 3 + 3 * 3 + 3
    assert list(tied.state_dict()) == ["embedding", "layer.weight", "layer.bias", "mean"]


def test_buffers_are_state_but_not_parameters():
    tied = Tied()
    assert list(tied.named_buffers().keys()) == ["mean"]
    assert not tied.mean.requires_grad
    tied.load_state_dict({**tied.state_dict(), "mean": np.ones(3)})
    np.testing.assert_array_equal(tied.mean.data, np.ones(3, np.float32))
    assert tied.mean.dtype == np.float32


def test_circular_modules_are_listed_once():
    parent, child = Module(), Module()
    parent.child, child.parent = child, parent
    child.loop = [Parameter(np.zeros(2, np.float32))]
    child.loop.append(child.loop)
    assert list(parent.named_parameters().keys()) == ["child.loop.0"]
    assert not child.eval().parent.training


def test_two_things_of_one_name_are_refused():
    module = Module()
    module.rows = {1: Parameter(np.zeros(2)), "1": Parameter(np.zeros(2))}
    with pytest.raises(ConfigError, match=r"two things named 'rows.1'"):
        module.named_parameters()


def test_a_plain_tensor_is_no_parameter():
    module = Module()
    module.constant = ma.tensor([1.0], requires_grad=True)
    assert module.parameters() == []


def test_a_state_of_the_wrong_kind_changes_nothing():
    module = Linear(2, 2, np.random.default_rng(0))
    before = module.state_dict()
    with pytest.raises(ShapeError, match=r"wrong kinds of numbers: bias is <U1, expected float32"):
        module.load_state_dict({"weight": np.ones((2, 2)), "bias": np.array(["a", "b"])})
    np.testing.assert_array_equal(module.weight.data, before["weight"])


def test_loading_is_seen_by_a_graph_made_before():
    module = Linear(2, 2, np.random.default_rng(0))
    y = module(ma.tensor([[1.0, 2.0]], requires_grad=True))
    module.load_state_dict(module.state_dict())
    with pytest.raises(MinattnError, match="was written to"):
        y.sum().backward()


def test_zero_grad_forgets_every_gradient():
    module = Linear(2, 2, np.random.default_rng(0))
    module(ma.tensor([[1.0, 2.0]])).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    module.zero_grad()
    assert all(p.grad is None for p in module.parameters())


def test_to_moves_parameters_and_buffers_in_place(backend):
    module = Tied()
    before, ids = module.state_dict(), [id(p) for p in module.parameters()]
    module.layer(ma.tensor(np.ones((1, 3), np.float32))).sum().backward()
    assert module.to(backend.device) is module
    tensors = [*module.parameters(), module.mean]
    assert {t.device for t in tensors} == {"cpu" if backend.device == "cpu" else "cuda:0"}
    assert [id(p) for p in module.parameters()] == ids
    assert all(t.grad is None for t in tensors)
    for name, array in module.state_dict().items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, before[name])
    module.load_state_dict({name: array + 1 for name, array in before.items()})
    assert module.mean.device == tensors[0].device
    np.testing.assert_array_equal(module.to("cpu").mean.data, before["mean"] + 1)


def test_moving_is_seen_by_a_graph_made_before(backend):
    module = Linear(2, 2, np.random.default_rng(0))
    y = module(ma.tensor([[1.0, 2.0]], requires_grad=True))
    module.to(backend.device)
    with pytest.raises(MinattnError, match="was written to"):
        y.sum().backward()


def test_training_is_independent_of_recording():
    layer = Dropout(0.5, np.random.default_rng(0)).eval()
    x = ma.tensor(np.ones(4, np.float32), requires_grad=True)
    assert (layer(x) * 2.0).requires_grad
    with ma.no_grad():
        assert layer.train().training
        assert not layer(x).requires_grad


def test_a_module_without_forward_says_so():
    class Unfinished(Module):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished has no forward"):
        Unfinished()(1)


def test_copies_are_independent():
    module = Linear(2, 2, np.random.default_rng(0))
    twin = copy.deepcopy(module)
    twin.weight.data = twin.weight.data + 1
    assert isinstance(twin.weight, Parameter)
    np.testing.assert_array_equal(twin.weight.data, module.weight.data + 1)


# ---------------------------------------------------------------------------------------------- models without memory
def test_an_unallocated_model_takes_no_memory_and_counts_right():
    rng = np.random.default_rng(0)
    tracemalloc.start()
    with initializers.unallocated():
        model = Embedding(1_000_000, 1000, rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.count_parameters() == 1_000_000_000
    assert peak < 100_000


# ---------------------------------------------------------------------------------------------- pairs, and a dict
def test_what_is_named_gives_pairs_when_looped_over_and_is_a_dict_otherwise():
    layer = Linear(2, 3, np.random.default_rng(0))
    named = layer.named_parameters()
    assert [(name, p.shape) for name, p in named] == [("weight", (2, 3)), ("bias", (3,))]
    assert list(named) == list(named.items())
    assert list(named.keys()) == ["weight", "bias"]
    assert named["bias"] is layer.bias
    assert "weight" in named
    assert len(named) == 2
    plain = dict(named)
    assert type(plain) is dict
    assert list(plain) == ["weight", "bias"]
    assert plain == named == {**named} == named | {}
    assert [name for name, _ in layer.named_modules()] == [""]
    assert not list(layer.named_buffers())
