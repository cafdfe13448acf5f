"""Data sets, vocabularies and batches.  Everything here is NumPy on the host and needs no engine."""

from minattn.data.augmentation import ImageBatch, ImageBatches, Normalization, evaluation_images
from minattn.data.batching import (
    LengthBucketedBatches,
    PaddedBatch,
    evaluation_batches,
    pad_sequences,
    source_batches,
)
from minattn.data.cmudict import load_cmudict, read_cmudict
from minattn.data.digits import load_digits
from minattn.data.docstrings import load_docstrings
from minattn.data.fashion_mnist import load_fashion_mnist
from minattn.data.image_folder import load_image_folder, read_image, read_image_folder
from minattn.data.images import Images, ImageSplits, hold_out_images
from minattn.data.lexicon import Lexicon, read_lexicon
from minattn.data.splits import Splits, hold_out, split_lexicon
from minattn.data.texts import Alphabet, Texts, read_text, split_text
from minattn.data.vocabulary import Vocabulary
from minattn.data.windows import TextBatch, TextWindows, evaluation_windows

__all__ = [
    "Alphabet",
    "ImageBatch",
    "ImageBatches",
    "ImageSplits",
    "Images",
    "LengthBucketedBatches",
    "Lexicon",
    "Normalization",
    "PaddedBatch",
    "Splits",
    "TextBatch",
    "TextWindows",
    "Texts",
    "Vocabulary",
    "evaluation_batches",
    "evaluation_images",
    "evaluation_windows",
    "hold_out",
    "hold_out_images",
    "load_cmudict",
    "load_digits",
    "load_docstrings",
    "load_fashion_mnist",
    "load_image_folder",
    "pad_sequences",
    "read_cmudict",
    "read_image",
    "read_image_folder",
    "read_lexicon",
    "read_text",
    "source_batches",
    "split_lexicon",
    "split_text",
]
