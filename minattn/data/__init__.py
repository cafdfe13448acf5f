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
from minattn.data.text.cmudict import load_cmudict, read_cmudict
from minattn.data.text.docstrings import load_docstrings
from minattn.data.text.lexicon import Lexicon, LexiconSplits, hold_out, read_lexicon, split_lexicon
from minattn.data.text.texts import Alphabet, read_text, split_text
from minattn.data.text.vocabulary import Vocabulary
from minattn.data.text.windows import TextBatch, TextWindows, evaluation_windows

__all__ = [
    "Alphabet",
    "ImageBatch",
    "ImageBatches",
    "ImageSplits",
    "Images",
    "LengthBucketedBatches",
    "Lexicon",
    "LexiconSplits",
    "Normalization",
    "PaddedBatch",
    "SeededBatches",
    "Splits",
    "TextBatch",
    "TextWindows",
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
