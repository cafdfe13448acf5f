"""The mechanisms that minattn has: for `minattn list` and the README's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mechanism:
    """One mechanism: where it was published, and where it stands here."""

    name: str
    paper: str
    equation: str  # with the paper's own numbers
    code: str  # module and class of the mechanism
    model: str  # module and class of the network that it was published in
    recipe: str  # the command that trains it


BAHDANAU = "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"

MECHANISMS = (
    Mechanism(
        name="additive attention",
        paper=BAHDANAU,
        equation=(
            "(1.5) e_ij = v_a' tanh(W_a s_i-1 + U_a h_j); "
            "(1.6) alpha_ij = exp(e_ij) / sum_k exp(e_ik), c_i = sum_j alpha_ij h_j"
        ),
        code="minattn.attention.sequence.AdditiveAttention",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="decoder that attends at every step",
        paper=BAHDANAU,
        equation="(1.7) s_i = gated unit of (y_i-1, c_i) and s_i-1, with c_i of (1.5) and (1.6)",
        code="minattn.attention.sequence.AttentiveGRU",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="gated recurrent unit",
        paper=f"Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; {BAHDANAU}",
        equation="(1.2) h_i = (1 - z_i) o h_i-1 + z_i o tanh(W x_i + U (r_i o h_i-1))",
        code="minattn.nn.GRU",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
)
