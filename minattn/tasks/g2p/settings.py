"""The networks that learn to pronounce, and the settings of a run with each; each takes about ten minutes on one core.

Letters are said in order, so a window of three to each side is enough for local attention; and they are not phonemes,
so the pre-softmax matrix of the Transformer is the phonemes' embedding alone.  Its usual settings for words take hours
here: layers=4 d_model=256 d_ff=1024 dropout=0.3 batch_size=400 lr=1e-3 warmup=4000, for 20,000 steps, with a rate that
falls as 1 / sqrt(step).  In a run of minutes that fall and the cosine do equally well, and without dropout it learns
faster.  Not the paper's is the longest pronunciation, twice the letters and 10 in place of 50 more.
"""

from minattn.tasks.sequences.settings import (
    SMALL_LUONG,
    SMALL_RNNENCDEC,
    SMALL_RNNSEARCH,
    SMALL_TRANSFORMER,
    SequenceConfig,
)

MODELS = {
    "rnnsearch": SequenceConfig(model="rnnsearch", network=SMALL_RNNSEARCH),
    "rnnencdec": SequenceConfig(model="rnnencdec", network=SMALL_RNNENCDEC),
    "luong": SequenceConfig(model="luong", network=SMALL_LUONG),
    "transformer": SequenceConfig(model="transformer", network=SMALL_TRANSFORMER, lr=2e-3, label_smoothing=0.1),
}
"""The default settings of a run, by network."""
