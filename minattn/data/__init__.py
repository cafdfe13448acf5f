"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.batches import SeededBatches
from minattn.data.batching import (
    LengthBucketedBatches,
    PaddedBatch,
    evaluation_batches,
    pad_sequences,
    source_batches,
)
from minattn.data.images.augmentation import ImageBatch, ImageBatches, Normalization, evaluation_images
from minattn.data.images.dataset import Images, ImageSplits, hold_out_images
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import load_fashion_mnist
from minattn.data.images.folder import load_image_folder, read_image, read_image_folder
from minattn.data.splits import Splits
from minattn.data.text.alignments import AlignedText, Alignment, read_alignment_folder
from minattn.data.text.bible import load_bible
from minattn.data.text.cmudict import load_cmudict, read_cmudict
from minattn.data.text.dates import load_dates
from minattn.data.text.docstrings import load_docstrings
from minattn.data.text.lexicon import Lexicon, LexiconSplits, hold_out, read_lexicon, split_lexicon
from minattn.data.text.multi30k import load_multi30k
from minattn.data.text.parallel import ParallelText, hold_out_pairs, parallel_files, read_parallel, split_parallel
from minattn.data.text.texts import Alphabet, read_text, split_text
from minattn.data.text.tokenization import (
    CharacterTokenizer,
    PieceTokenizer,
    Tokenizer,
    WordTokenizer,
    tokenizer_from_json,
)
from minattn.data.text.vocabulary import Vocabulary
from minattn.data.text.windows import TextBatch, TextWindows, evaluation_windows

__all__ = [
    "AlignedText",
    "Alignment",
    "Alphabet",
    "CharacterTokenizer",
    "ImageBatch",
    "ImageBatches",
    "ImageSplits",
    "Images",
    "LengthBucketedBatches",
    "Lexicon",
    "LexiconSplits",
    "Normalization",
    "PaddedBatch",
    "ParallelText",
    "PieceTokenizer",
    "SeededBatches",
    "Splits",
    "TextBatch",
    "TextWindows",
    "Tokenizer",
    "Vocabulary",
    "WordTokenizer",
    "evaluation_batches",
    "evaluation_images",
    "evaluation_windows",
    "hold_out",
    "hold_out_images",
    "hold_out_pairs",
    "load_bible",
    "load_cmudict",
    "load_dates",
    "load_digits",
    "load_docstrings",
    "load_fashion_mnist",
    "load_image_folder",
    "load_multi30k",
    "pad_sequences",
    "parallel_files",
    "read_alignment_folder",
    "read_cmudict",
    "read_image",
    "read_image_folder",
    "read_lexicon",
    "read_parallel",
    "read_text",
    "source_batches",
    "split_lexicon",
    "split_parallel",
    "split_text",
    "tokenizer_from_json",
]
