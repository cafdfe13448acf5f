"""Graphs grown at random, with re-use, fan-out, no_grad, detach and deletion, against the naive engine."""

import contextlib

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from naive import BINARY, UNARY, Number, binary, unary

import minattn as ma
from minattn.errors import GradientError

PATHS, LARGEST = 1000, 1e3
VALUES = st.sampled_from([-1.5, -0.5, 0.0, 0.75, 1.25])


class Pair:
    """One number in both engines, and the numbers of ours that its graph reaches."""

    def __init__(self, tensor, number, ancestors):
        self.tensor, self.number, self.ancestors = tensor, number, ancestors


class GraphMachine(RuleBasedStateMachine):
    """After every step both engines agree on every value and on every leaf's gradient."""

    pairs = Bundle("pairs")

    def __init__(self):
        super().__init__()
        self.leaves = []
        self.living = []
        self.freed = set()  # the numbers of the nodes whose graph is freed
        self.doubtful = set()  # those that a pass which was refused half-way may have freed
        self.count = 0

    def entered(self, tensor, number, parents=()):
        if number.paths > PATHS or abs(number.value) > LARGEST:
            return multiple()  # too much for the naive engine, or for comparing numbers
        self.count += 1
        ancestors = frozenset().union(*(p.ancestors for p in parents)) | {self.count} if number.parents else frozenset()
        pair = Pair(tensor, number, ancestors)
        self.living.append(pair)
        return pair

    # ---------------------------------------------------------------------------------------- growing
    @initialize(target=pairs, first=VALUES, second=VALUES)
    def start(self, first, second):
        return multiple(self.leaf(first, True), self.leaf(second, True))

    def leaf(self, value, requires_grad):
        tensor = ma.tensor(np.array(value), requires_grad=requires_grad)
        pair = self.entered(tensor, Number(value, requires_grad=requires_grad))
        if requires_grad:
            self.leaves.append(pair)
        return pair

    @rule(target=pairs, value=VALUES, requires_grad=st.booleans())
    def new_leaf(self, value, requires_grad):
        return self.leaf(value, requires_grad)

    @rule(target=pairs, name=st.sampled_from(sorted(UNARY)), x=pairs, record=st.booleans())
    def apply_unary(self, name, x, record):
        with contextlib.nullcontext() if record else ma.no_grad():
            tensor = getattr(ma, name)(x.tensor)
        return self.entered(tensor, unary(name, x.number, record), [x])

    @rule(
        target=pairs,
        name=st.sampled_from(sorted(BINARY)),
        a=pairs,
        b=pairs,
        record=st.sampled_from([True, True, False]),
    )
    def apply_binary(self, name, a, b, record):
        with contextlib.nullcontext() if record else ma.no_grad():
            tensor = getattr(ma, name)(a.tensor, b.tensor)
        return self.entered(tensor, binary(name, a.number, b.number, record), [a, b])

    @rule(target=pairs, a=pairs, b=pairs, swap=st.booleans())
    def apply_an_op_of_two_outputs(self, a, b, swap):
        joined = ma.unstack(ma.stack([a.tensor, b.tensor]))
        one, other = (b, a) if swap else (a, b)
        number = Number(one.number.value, [(one.number, 1.0), (other.number, 0.0)])
        return self.entered(joined[1 if swap else 0], number, [a, b])

    @rule(target=pairs, x=pairs)
    def detach(self, x):
        return self.entered(x.tensor.detach(), x.number.detach())

    # ---------------------------------------------------------------------------------------- using up
    @rule(x=consumes(pairs))
    def delete(self, x):
        self.living.remove(x)
        if x in self.leaves:
            self.leaves.remove(x)

    @rule(x=pairs, upstream=VALUES)
    def walk_back(self, x, upstream):
        if not x.number.requires_grad:
            expected = "nothing here requires a gradient"
        elif x.ancestors & self.freed:
            expected = "has freed its graph"
            self.doubtful |= x.ancestors
        elif x.ancestors & self.doubtful:
            return
        else:
            x.tensor.backward(np.array(upstream))
            x.number.backward(upstream)
            self.freed |= x.ancestors
            return
        before = [None if leaf.tensor.grad is None else leaf.tensor.grad.copy() for leaf in self.leaves]
        with pytest.raises(GradientError, match=expected):
            x.tensor.backward(np.array(upstream))
        for leaf, gradient in zip(self.leaves, before, strict=True):
            leaf.tensor.grad = gradient  # a pass that is refused half-way has done its first half

    @precondition(lambda self: self.leaves)
    @rule()
    def zero_grad(self):
        for leaf in self.leaves:
            leaf.tensor.zero_grad()
            leaf.number.grad = 0.0

    # ---------------------------------------------------------------------------------------- agreeing
    @invariant()
    def values_agree(self):
        for pair in self.living:
            assert np.isclose(pair.tensor.item(), pair.number.value, rtol=1e-12, atol=1e-12)
            assert pair.tensor.requires_grad == pair.number.requires_grad

    @invariant()
    def gradients_agree(self):
        for leaf in self.leaves:
            gradient = 0.0 if leaf.tensor.grad is None else leaf.tensor.grad.item()
            assert np.isclose(gradient, leaf.number.grad, rtol=1e-9, atol=1e-9)


TestGraphStates = GraphMachine.TestCase
TestGraphStates.settings = settings(settings(), max_examples=50, stateful_step_count=30)
