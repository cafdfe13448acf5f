"""The data of a run of translation: a data set by name, a folder, or files."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from minattn.data import (
    ParallelText,
    Splits,
    hold_out_pairs,
    load_bible,
    load_dates,
    load_multi30k,
    parallel_files,
    read_alignment_folder,
    read_parallel,
    split_parallel,
)
from minattn.data.text.dates import babel_version
from minattn.data.text.multi30k import has_multi30k
from minattn.errors import ConfigError, DataError
from minattn.tasks.config import unknown
from minattn.tasks.task import Files

DATA_SETS = {"dates": load_dates, "bible": load_bible}

MOST_DEV_PAIRS = 1000

FORM = "lines SOURCE<TAB>TARGET, or two files with a comma between them, such as train.en,train.es"


@dataclass(frozen=True)
class ParallelSource(Files):
    """Parallel text: a data set by name, a folder of Multi30k or of sentences aligned by hand, or files."""

    train: Annotated[str | None, f"the training file, {FORM}", "FILE[,FILE]"] = None
    data: Annotated[
        str | None,
        "the data: dates (in words, of twelve locales, into ISO form), bible (English to Spanish), a folder of "
        "Multi30k (English to German), or one of sentences aligned by hand with others to train on  [default: dates]",
        "NAME|FOLDER",
    ] = None

    splits: ClassVar[type[Splits[Any]]] = Splits

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is not None and self.train is not None:
            raise ConfigError(f"--data {self.data} and --train {self.train} are two sources of data; hint: give one")

    @property
    def own_data(self) -> str:  # type: ignore[override]
        return next(iter(DATA_SETS)) if self.data is None else self.data

    @property
    def hint_if_changed(self) -> str:  # type: ignore[override]
        return "install the babel that its config.json names" if self.of_dates else "put the old files back"

    @property
    def of_dates(self) -> bool:
        """True for dates in words."""
        return self.train is None and self.own_data == "dates"

    @property
    def of_words(self) -> bool:
        """True for text that is divided into words already, so that published BLEU is of what spaces divide."""
        return self.train is None and self.own_data not in DATA_SETS

    def versions(self) -> dict[str, str]:
        return {"babel": babel_version()} if self.of_dates else {}

    def read(self, path: str) -> ParallelText:
        if os.path.isdir(path):
            return read_alignment_folder(path).gold
        return read_parallel(*parallel_files(path))

    def load_own(self) -> Splits[ParallelText]:
        if self.own_data in DATA_SETS:
            return DATA_SETS[self.own_data]()
        if not os.path.isdir(self.own_data):
            if os.path.exists(self.own_data):
                raise DataError(f"{self.own_data} is no folder; hint: --train {self.own_data}")
            raise unknown("data set or folder", Path(self.own_data).name, DATA_SETS, ", or a folder")
        if has_multi30k(self.own_data):
            return load_multi30k(self.own_data)
        aligned = read_alignment_folder(self.own_data)
        if aligned.train is None:
            raise DataError(
                f"{self.own_data} has sentences aligned by hand and none to train on; hint: --train FILE "
                f"--test {self.own_data}"
            )
        return Splits(*self.hold_out(aligned.train), aligned.gold)

    def split(self, data: ParallelText) -> Splits[ParallelText]:
        return split_parallel(data)

    def hold_out(self, train: ParallelText) -> tuple[ParallelText, ParallelText]:
        return hold_out_pairs(train, min(MOST_DEV_PAIRS, max(1, len(train) // 20)))

    def absolute(self) -> Self:
        def absolute(files: str | None) -> str | None:
            return files and ",".join(str(path.absolute()) for path in parallel_files(files))

        data = self.data if self.data in (None, *DATA_SETS) else str(Path(self.data).absolute())
        return replace(self, train=absolute(self.train), dev=absolute(self.dev), test=absolute(self.test), data=data)
