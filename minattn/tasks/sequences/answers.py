"""How both tasks show what a model answers: lines and heat maps in the terminal, and the figure of alignments."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from minattn.errors import ConfigError, DataError
from minattn.tasks.task import Output

if TYPE_CHECKING:
    from minattn.viz import Alignment

ALIGNMENTS = "alignments.png"

Plot = Annotated[Path | None, "draw the alignments: FILE.png, .svg or .pdf", "FILE"]


class Answer(Protocol):
    """A target that search has found for a source."""

    @property
    def probability(self) -> float:
        """Of the whole target, under the model."""

    @property
    def line(self) -> str:
        """What is said of it."""

    @property
    def panel(self) -> "Alignment":
        """Its heat map; a model may say nothing, and then there are no target symbols."""


def check_plot(plot: Path | None, attends: bool) -> None:
    """Raise ConfigError where the option --plot asks for a figure that cannot be drawn."""
    from minattn.viz.saving import check_figure_path

    if plot is None:
        return
    check_figure_path(plot)
    if not attends:
        raise ConfigError("this run's model has no attention to plot; hint: a run with another model")


def show_answers(output: Output, answers: Sequence[Answer], attends: bool, plot: Path | None, columns: int = 3) -> None:
    """Show each answer, where its symbols come from if the model attends, and draw that into `plot`."""
    from minattn.viz import terminal_alignment

    for answer in answers:
        probability = f"{answer.probability:.3f}" if answer.probability >= 0.0005 else "below 0.001"
        output.line(f"{answer.line}  (probability {probability})")
        if attends and answer.panel.target:
            output.show(terminal_alignment(answer.panel.weights, answer.panel.source, answer.panel.target))
    if plot is not None:
        draw_alignments(answers, plot, columns)
        output.line(f"alignments drawn into {plot}")


def alignments_of_run(answers: Sequence[Answer], folder: Path, columns: int = 3) -> list[str]:
    """Draw the figure of a run and return its name; none where the model has learned next to nothing, and is silent."""
    if not any(answer.panel.target for answer in answers):
        return []
    draw_alignments(answers, folder / ALIGNMENTS, columns)
    return [ALIGNMENTS]


def draw_alignments(answers: Sequence[Answer], path: Path, columns: int = 3) -> None:
    """Draw a heat map for each answer that has a symbol.  Raises DataError where none has."""
    from minattn.viz import alignment_grid, save_figure

    panels = [panel for panel in (answer.panel for answer in answers) if panel.target]
    if not panels:
        raise DataError("there is nothing to plot: the model says nothing to these; hint: train it longer")
    save_figure(alignment_grid(panels, columns), path)
