"""Training: optimizers, schedules, clipping, checkpoints, metrics and the loop."""

from minattn.training.checkpoint import (
    arrays_under,
    as_kind,
    load_checkpoint,
    restore_rng,
    rng_state,
    save_checkpoint,
)
from minattn.training.clipping import clip_grad_norm, clip_grad_norms, clip_grad_value, grad_norm
from minattn.training.loop import BEST, LAST, LOG, Batches, Trainer
from minattn.training.metrics import Metric
from minattn.training.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop
from minattn.training.parallel import DataParallel
from minattn.training.plan import Outcome, Plan, State
from minattn.training.progress import BarProgress, PlainProgress, Progress
from minattn.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmup,
    Noam,
    Plateau,
    Schedule,
    StepDecay,
)

__all__ = [
    "BEST",
    "LAST",
    "LOG",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BarProgress",
    "Batches",
    "Constant",
    "Cosine",
    "DataParallel",
    "Exponential",
    "LinearWarmup",
    "Metric",
    "Noam",
    "Optimizer",
    "Outcome",
    "PlainProgress",
    "Plan",
    "Plateau",
    "Progress",
    "RMSprop",
    "Schedule",
    "State",
    "StepDecay",
    "Trainer",
    "arrays_under",
    "as_kind",
    "clip_grad_norm",
    "clip_grad_norms",
    "clip_grad_value",
    "grad_norm",
    "load_checkpoint",
    "restore_rng",
    "rng_state",
    "save_checkpoint",
]
