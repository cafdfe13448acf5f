"""Networks that translate, in equal time: section 5.2 of Bahdanau et al. 2015, section 5.4 of Luong et al. 2015.

    python experiments/translation_models.py --data bible --out runs/bible
    python experiments/translation_models.py --data FOLDER_OF_MULTI30K --out runs/multi30k
    python experiments/translation_models.py --data FOLDER_OF_ALIGNED_SENTENCES --attentions --out runs/aligned

Every network learns from the same sentences for the same time: how long a step takes is measured first, and decides the
number of steps.  --attentions takes every attention in place of every network.  Leaves in the folder

    table.md        BLEU, chrF, perplexity, time; where the test sentences are aligned, the alignment error rate too,
                    beside that of IBM model 1, which has the same sentences to count
    NETWORK.txt     its translations of the test sentences, a line each
    lengths.png     BLEU by the length of the source, as in Figure 2 of Bahdanau et al.
    alignments.png  of a few test sentences by RNNsearch, as in their Figure 3

A network that is trained there already is not trained again.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from shared import markdown_table, run, trained

from minattn.data import AlignedText, ParallelText, Splits
from minattn.errors import ConfigError
from minattn.models.sequence.ibm_model_1 import IBMModel1, intersection, turned
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.run_folder import REPORT, check_writable
from minattn.tasks.sequences.answers import ALIGNMENTS, draw_alignments
from minattn.tasks.threads import blas_threads
from minattn.tasks.translate.source import ParallelSource
from minattn.tasks.translate.task import COLUMNS, Translation
from minattn.tasks.translate.translator import Translator
from minattn.training.alignment_metrics import score_alignments
from minattn.training.translation_metrics import LENGTHS, TranslationScore, score_by_length
from minattn.viz import save_figure
from minattn.viz.style import PALETTE, LineName, axes_at, name_lines, styled_figure

LOCAL = ("window=10",)  # the paper's D
NETWORKS = {
    "RNNencdec": ("model=rnnencdec",),
    "RNNsearch": ("model=rnnsearch",),
    "Luong, global (general)": ("model=luong", "attention=global"),
    "Luong, local-p (general)": ("model=luong", "attention=local-p", *LOCAL),
    "Transformer": ("model=transformer",),
}
ATTENTIONS = {
    "RNNsearch": NETWORKS["RNNsearch"],
    **{
        f"Luong, global ({score})": ("model=luong", f"score={score}")
        for score in ("location", "dot", "general", "concat")
    },
    **{f"Luong, {kind} (general)": ("model=luong", f"attention={kind}", *LOCAL) for kind in ("local-m", "local-p")},
    "Transformer": NETWORKS["Transformer"],
}

MEASURED_STEPS = 30
SHOWN_WORDS = (8, 14)  # of the sentences whose alignments are drawn


def main() -> None:
    """Train every network, then tabulate and draw what they have learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="NAME|FOLDER", help="as of minattn train translate")
    parser.add_argument("--train", metavar="FILE[,FILE]", help="files, as of minattn train translate")
    parser.add_argument("--out", type=Path, default=Path("runs/networks"), help="folder for the runs and results")
    parser.add_argument("--attentions", action="store_true", help="every attention in place of every network")
    parser.add_argument("--only", action="append", metavar="NAME", help="this network only; repeatable")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, metavar="N", help="ends of groups of lengths"
    )
    parser.add_argument("--seconds", type=float, default=360, help="training time of each network")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of all")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    source, task = ParallelSource(data=arguments.data, train=arguments.train), Translation()
    rows = ATTENTIONS if arguments.attentions else NETWORKS
    rows = {name: rows[name] for name in rows if name in (arguments.only or rows)}
    if not rows:
        raise ConfigError(f"none of these networks is called {' or '.join(arguments.only)}; hint: --only RNNsearch")
    configs = {name: task.configure([*settings, *arguments.set], source=source) for name, settings in rows.items()}
    splits = source.load()
    steps = steps_of(task, configs, splits, arguments.seconds, arguments.out / "steps.json")
    reports, translators = {}, {}
    for name, config in configs.items():
        folder = arguments.out / folder_of(name)
        print(f"{name}: {steps[name]:,} steps, {folder}", flush=True)
        config = task.configure([*rows[name], *arguments.set, f"steps={steps[name]}"], source=source)
        translators[name] = trained(task, config, source, folder)
        reports[name] = read_json(folder / REPORT)
    text = table(reports)
    if isinstance(splits.test, AlignedText) and splits.test.unit == "word":
        text += "\n" + baseline(splits.train, splits.test)
    write_text(arguments.out / "table.md", text)
    scores = {
        name: by_length(translator, splits.test, arguments.lengths, arguments.out / f"{folder_of(name)}.txt")
        for name, translator in translators.items()
    }
    save_figure(draw(scores), arguments.out / "lengths.png")
    write_text(arguments.out / "lengths.md", table_of_lengths(scores))
    shown = [
        s for s in splits.test.sources if SHOWN_WORDS[0] <= len(s.split()) <= SHOWN_WORDS[1]
    ] or splits.test.sources
    if "RNNsearch" in translators:
        draw_alignments(translators["RNNsearch"].translate(shown[:4]), arguments.out / ALIGNMENTS, COLUMNS)
    print(text)


def folder_of(name: str) -> str:
    """The name of a network's folder."""
    return "".join(c if c.isalnum() else "_" for c in name)


# ---------------------------------------------------------------------------------------------- equal time
def steps_of(
    task: Translation, configs: Mapping[str, Any], splits: Splits[ParallelText], seconds: float, path: Path
) -> dict[str, int]:
    """The number of steps that each network makes in so many seconds, measured once and kept in a file."""
    known = read_json(path) if path.exists() else {}
    for name, config in configs.items():
        if name not in known:
            each = seconds_per_step(task.build(config, splits), splits.train)
            known[name] = max(1, round(seconds / each))
            write_json(path, known)
    return {name: known[name] for name in configs}


@blas_threads()
def seconds_per_step(translator: Translator, train: ParallelText) -> float:
    """The mean processor time of a step, which other programs do not lengthen; with one thread it is the wall time."""
    config, model = translator.config, translator.model
    optimizer = config.optimizer(model.named_parameters())
    batches = list(islice(translator.batches(train).iterate(0), MEASURED_STEPS + 2))
    for number, batch in enumerate(batches):
        if number == min(2, len(batches) - 1):  # the first steps find no memory to use again
            start = time.process_time()
        translator.loss(model, batch).backward()
        optimizer.step()
        model.zero_grad()
    return (time.process_time() - start) / max(1, len(batches) - 2)


# ---------------------------------------------------------------------------------------------- results
def table(reports: Mapping[str, Any]) -> str:
    """A row for each network, and the signature of BLEU below."""
    aligned = any("aer" in report["test"] for report in reports.values())
    header = ["network", "parameters", "steps", "training (s)", "perplexity", "BLEU", "chrF", *(["AER (%)"] * aligned)]
    rows = []
    for name, report in reports.items():
        test, training = report["test"], report["training"]
        numbers = [f"{report['model']['parameters']:,}", f"{training['steps']:,}", f"{training['seconds']:.0f}"]
        scores = [f"{test['perplexity']:.2f}", f"{test['bleu']:.2f}", f"{test['chrf']:.2f}"]
        rows.append([name, *numbers, *scores, *([f"{test['aer']:.1f}" if "aer" in test else "–"] * aligned)])
    first = next(iter(reports.values()))["test"]
    return markdown_table(header, rows) + f"\n{first['signature']}, beam {first['beam']}, alpha {first['alpha']}\n"


def baseline(train: ParallelText, test: AlignedText) -> str:
    """The alignment error rate of IBM model 1 in both directions, learned from all these sentences."""
    pairs = [(source.split(), target.split()) for text in (train, test) for source, target in text]
    forward, backward = IBMModel1(pairs), IBMModel1([(target, source) for source, target in pairs])
    tested = pairs[len(train) :]
    links = {
        "IBM model 1": [forward.align(source, target) for source, target in tested],
        "the other direction": [turned(backward.align(target, source)) for source, target in tested],
        "both": [
            intersection(forward.align(source, target), backward.align(target, source)) for source, target in tested
        ],
    }
    scores = {name: score_alignments(found, test.alignments) for name, found in links.items()}
    rows = [[name, *(f"{x:.1f}" for x in (s.aer, s.precision, s.recall))] for name, s in scores.items()]
    return markdown_table(["counting", "AER (%)", "precision (%)", "recall (%)"], rows)


def by_length(
    translator: Translator, test: ParallelText, ends: Sequence[int], path: Path
) -> dict[int, TranslationScore]:
    """The scores of the test sentences by the words of the source; path: where their translations are kept."""
    if not path.exists():
        found = translator.search([ids for ids, _ in translator.encode(test)], batch_size=128)
        write_text(path, "".join(translator.target.decode(best.ids) + "\n" for best in found))
    translations = path.read_text(encoding="utf-8").split("\n")[:-1]
    lengths = [len(source.split()) for source in test.sources]
    return score_by_length(translations, test.targets, lengths, ends, translator.config.bleu)


def table_of_lengths(scores: Mapping[str, Mapping[int, TranslationScore]]) -> str:
    """BLEU of each group of lengths, named by its longest."""
    groups = next(iter(scores.values()))
    rows = (
        [f"to {end}", f"{groups[end].sentences:,}", *(f"{of_network[end].bleu:.2f}" for of_network in scores.values())]
        for end in groups
    )
    return markdown_table(["words", "sentences", *scores], rows)


def draw(scores: Mapping[str, Mapping[int, TranslationScore]]) -> Any:
    """BLEU against the length of the source, a line for each network; the groups of lengths stand side by side."""
    ends = list(next(iter(scores.values())))
    with styled_figure(7.2, 3.5) as figure:
        axes = axes_at(figure, 0.8, 0.2, 4.2, 2.7)
        names = []
        for (name, groups), color in zip(scores.items(), PALETTE * 2, strict=False):
            bleu = [groups[end].bleu for end in ends]
            axes.plot(range(len(ends)), bleu, color=color, marker="o", clip_on=False)
            names.append(LineName(name, color, bleu[-1]))
        axes.set(xlabel="length of the source (words)", ylabel="BLEU")
        axes.set_ylim(bottom=0)
        starts = [1, *(end + 1 for end in ends[:-1])]
        axes.set_xticks(range(len(ends)), [f"{start}–{end}" for start, end in zip(starts, ends, strict=True)])
        axes.grid(axis="y")
        name_lines(axes, names)
    return figure


if __name__ == "__main__":
    run(main)
