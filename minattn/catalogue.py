"""The mechanisms that minattn has: for `minattn list` and the README's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mechanism:
    """One mechanism: where it was published, and where it stands here."""

    name: str
    paper: str
    equation: str  # with the printed numbers, or the section where there are none
    code: str  # module and class of the mechanism
    model: str  # module and class of the network that it was published in
    recipe: str  # the command that trains it


BAHDANAU = "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"
VASWANI = "Vaswani et al. 2017, Attention is all you need"
HU = "Hu, Shen & Sun 2018, Squeeze-and-excitation networks"
ZHOU = "Zhou et al. 2016, Learning deep features for discriminative localization"
FUKUI = "Fukui et al. 2019, Attention branch network: learning of attention mechanism for visual explanation"

MECHANISMS = (
    Mechanism(
        name="additive attention",
        paper=BAHDANAU,
        equation=(
            "(5) c_i = sum_j alpha_ij h_j; (6) alpha_ij = exp(e_ij) / sum_k exp(e_ik); "
            "A.1.2: e_ij = v_a' tanh(W_a s_i-1 + U_a h_j)"
        ),
        code="minattn.attention.sequence.AdditiveAttention",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="decoder that attends at every step",
        paper=BAHDANAU,
        equation="A.2.2: s_i = gated recurrent unit of (y_i-1, c_i) and s_i-1, with c_i of (5) and (6)",
        code="minattn.attention.sequence.attentive_gru",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="gated recurrent unit",
        paper=f"Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; {BAHDANAU}",
        equation="A.1.1: h_i = (1 - z_i) o h_i-1 + z_i o tanh(W x_i + U (r_i o h_i-1))",
        code="minattn.nn.GRU",
        model="minattn.models.RNNsearch",
        recipe="minattn train g2p",
    ),
    Mechanism(
        name="scaled dot-product attention",
        paper=VASWANI,
        equation="(1) Attention(Q, K, V) = softmax(Q K' / sqrt(d_k)) V; causal: later keys have the score -infinity",
        code="minattn.attention.self_attention.scaled_dot_product_attention",
        model="minattn.models.Transformer",
        recipe="minattn train g2p --model transformer",
    ),
    Mechanism(
        name="multi-head attention",
        paper=VASWANI,
        equation=(
            "3.2.2: MultiHead(Q, K, V) = Concat(head_1, .., head_h) W^O, head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)"
        ),
        code="minattn.attention.self_attention.MultiHeadAttention",
        model="minattn.models.Transformer",
        recipe="minattn train g2p --model transformer",
    ),
    Mechanism(
        name="sinusoidal positions",
        paper=VASWANI,
        equation="3.5: PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(pos / 10000^(2i/d))",
        code="minattn.attention.self_attention.SinusoidalPositions",
        model="minattn.models.Transformer",
        recipe="minattn train g2p --model transformer",
    ),
    Mechanism(
        name="learned positions",
        paper=f"{VASWANI}, Table 3, row E; Devlin et al. 2019, BERT",
        equation="3.5: x_pos + P_pos, with a learned vector P_pos for each position",
        code="minattn.attention.self_attention.LearnedPositions",
        model="minattn.models.Transformer",
        recipe="minattn train g2p --model transformer --set positions=learned",
    ),
    Mechanism(
        name="causal self-attention alone, a language model",
        paper=f"{VASWANI}, 3.2.3; Radford et al. 2019, Language models are unsupervised multitask learners",
        equation="3.2.3: p(text) = product of p(symbol_t | symbols before it); no position attends to a later one",
        code="minattn.models.sequence.transformer_layers.EncoderLayer",
        model="minattn.models.LanguageModel",
        recipe="minattn train lm",
    ),
    Mechanism(
        name="bidirectional self-attention, a sentence encoder",
        paper="Devlin et al. 2019, BERT: Pre-training of deep bidirectional transformers for language understanding",
        equation="x <- LayerNorm(x + MultiHead(x, x, x)); x <- LayerNorm(x + FFN(x)), (2) with gelu for max(0, .)",
        code="minattn.models.sequence.transformer_layers.EncoderLayer",
        model="minattn.models.Bert",
        recipe="minattn embed MODEL_DIR TEXT",
    ),
    Mechanism(
        name="squeeze-and-excitation, attention over channels",
        paper=HU,
        equation="(2) z_c = mean of u_c; (3) s = sigma(W_2 delta(W_1 z)); (4) x~_c = s_c u_c",
        code="minattn.attention.channel.SqueezeExcitation",
        model="minattn.models.vision.resnet.ResNet",
        recipe="minattn train images --model se_resnet20",
    ),
    Mechanism(
        name="class activation map",
        paper=ZHOU,
        equation="(1) S_c = sum_xy M_c(x, y); (2) M_c(x, y) = sum_k w_k^c f_k(x, y)",
        code="minattn.attention.spatial.class_scores",
        model="minattn.models.CamNetwork",
        recipe="minattn train images",
    ),
    Mechanism(
        name="attention branch, a map that is learned",
        paper=FUKUI,
        equation="3.1: M = sigma(BN(conv(A))), A a map for each class; g' = g (1 + M)",
        code="minattn.attention.spatial.AttentionBranch",
        model="minattn.models.AttentionBranchNetwork",
        recipe="minattn train images --model abn_resnet20",
    ),
)
