"""Figure 2 of Bahdanau, Cho & Bengio 2015 on pronunciations: accuracy against word length, with and without attention.

    python experiments/rnnsearch_length.py --out runs/length

RNNencdec must squeeze a word into one vector; RNNsearch looks back at its letters.  Both are trained on the same words
with the same settings, and scored on the test words of each length.  Leaves `length.png` and `length.md` in the folder;
a model that is trained there already is not trained again.

The paper's BLEU counts what is right inside a sentence, so the figure shows the phonemes that are right, 100 % - PER.
Whole words, which the table has too, get harder with every phoneme for any model: one mistake spoils them.
"""

import argparse
from pathlib import Path

from shared import markdown_table, run, trained

from minattn.tasks.files import write_text
from minattn.tasks.g2p.error_rates import Score, score_by_length
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.tasks.run_folder import check_writable
from minattn.viz import accuracy_by_length, save_figure

MODELS = {"RNNencdec": "rnnencdec", "RNNsearch": "rnnsearch"}


def main() -> None:
    """Train both models, then draw and tabulate their accuracy by word length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/length"), help="folder for the runs and the figure")
    parser.add_argument("--train", metavar="FILE", help="a lexicon, lines WORD<TAB>PH PH PH, instead of CMUdict")
    parser.add_argument("--epochs", type=int, default=3, help="epochs for each model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change another setting")
    parser.add_argument("--longest", type=int, default=16, help="words this long and longer count as one length")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    settings = [f"epochs={arguments.epochs}", *arguments.set]
    configs = {name: G2P().configure(settings, model) for name, model in MODELS.items()}
    source = LexiconFiles(train=arguments.train)
    test = source.load_test()
    scores: dict[str, dict[int, Score]] = {}
    for name, config in configs.items():
        predictions = trained(G2P(), config, source, arguments.out / config.model).pronounce(list(test), config.beam)
        by_word = {p.word: p.phonemes for p in predictions}
        scores[name] = score_by_length(by_word, test, longest=arguments.longest)

    curves = {
        name: [(length, max(0.0, 1 - s.per / 100), s.phonemes) for length, s in by_length.items()]
        for name, by_length in scores.items()
    }
    save_figure(accuracy_by_length(curves, counted="phonemes"), arguments.out / "length.png")
    text = table(scores)
    write_text(arguments.out / "length.md", text)
    print(text)


def table(scores: dict[str, dict[int, Score]]) -> str:
    """A row a length: the words that have it, and each model's word accuracy and phoneme error rate in percent."""
    header = ["letters", "words", *(f"{name} accuracy" for name in scores), *(f"{name} PER" for name in scores)]
    lengths = next(iter(scores.values()))
    of_lengths = ((length, [scores[name][length] for name in scores]) for length in lengths)
    return markdown_table(
        header,
        (
            [
                str(length),
                f"{s[0].words:,}",
                *(f"{100 - each.wer:.1f}" for each in s),
                *(f"{each.per:.1f}" for each in s),
            ]
            for length, s in of_lengths
        ),
    )


if __name__ == "__main__":
    run(main)
