"""The mechanisms that minattn has: for `minattn list` and the README's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mechanism:
    """One mechanism: where it was published, and where it stands here."""

    name: str
    paper: str
    equation: str
    code: str  # module and class of the mechanism
    model: str  # module and class of the network that it was published in
    recipe: str  # the command that trains it


MECHANISMS = (
    Mechanism(
        name="additive attention",
        paper="Bahdanau, Cho & Bengio 2015",
        equation="e_ij = v_a' tanh(W_a s_i-1 + U_a h_j);  alpha_i = softmax(e_i);  c_i = sum_j alpha_ij h_j",
        code="minattn.attention.sequence.AdditiveAttention",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="gated recurrent unit",
        paper="Cho et al. 2014; Bahdanau, Cho & Bengio 2015",
        equation="h_i = (1 - z_i) o h_i-1 + z_i o tanh(W x_i + U (r_i o h_i-1))",
        code="minattn.nn.GRU",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
)
