"""Figures: where a model looked, how its training went, how it fares on long inputs.

Figures need matplotlib, those in the terminal need rich; both come with `pip install 'minattn[train]'` and are imported
only when a figure is drawn.
"""

from minattn.viz.alignment import Alignment, alignment_figure, alignment_grid, terminal_alignment
from minattn.viz.curves import learning_curves, read_records
from minattn.viz.heads import attention_heads, attention_lines
from minattn.viz.lengths import accuracy_by_length
from minattn.viz.maps import attention_maps
from minattn.viz.saving import save_figure

__all__ = [
    "Alignment",
    "accuracy_by_length",
    "alignment_figure",
    "alignment_grid",
    "attention_heads",
    "attention_lines",
    "attention_maps",
    "learning_curves",
    "read_records",
    "save_figure",
    "terminal_alignment",
]
