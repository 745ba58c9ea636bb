"""The data sets of the catalogue. All are split the same way for every trial of a study: by their own seed, not by the trial's."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, HyperparameterType, choice, integer, number, text


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    task: str
    """Where the entry has a hyperparameter task, that decides and this is its default."""
    sample: str | None
    """vector, image, sequence, tokens, pairs or scene; None where only the file tells."""
    shape: tuple[int, ...] | None = None
    """Shape of one sample, where it is known beforehand."""
    classes: int | None = None
    samples: int | None = None
    columns: tuple[str, ...] = ()
    """Hyperparameters that name a column of the file; any other text is the path of a file or folder on the worker."""


DatasetEntry = Entry[DatasetFacts]

VALIDATION = number("validation", 0.2, 0, 1, low_open=True, high_open=True, per_lane=False, summary="share held out to validate")
TEST = number("test", 0.0, 0, 1, high_open=True, per_lane=False, summary="share never looked at before the end")
SPLIT_SEED = integer("split_seed", 0, 0, 2**32 - 1, summary="of the shuffle before the split")
SPLIT = (VALIDATION, TEST, SPLIT_SEED)


def files(entry: DatasetEntry) -> tuple[str, ...]:
    """Hyperparameters that are paths on the worker, which may refuse to follow them."""
    texts = (h.name for h in entry.hyperparameters if h.type is HyperparameterType.TEXT)
    return tuple(name for name in texts if name not in entry.facts.columns)


_PATH = text("path", required=True, summary="where the workers find it, below a folder of their --data-root")
_TARGET = text("target", required=True, summary="column to predict")
_TASK = choice("task", "classification", ["classification", "regression"])


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    facts: DatasetFacts,
    split: tuple[Hyperparameter, ...] = SPLIT,
) -> DatasetEntry:
    return Entry(
        kind="datasets",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=(*hyperparameters, *split),
        facts=facts,
    )


ENTRIES: tuple[DatasetEntry, ...] = (
    _entry(
        "digits",
        "1797 handwritten digits of 8x8 pixels, 10 classes.",
        "The standard small benchmark of this service: an MLP learns it in a second.",
        "scikit-learn load_digits (UCI)",
        facts=DatasetFacts(task="classification", sample="image", shape=(1, 8, 8), classes=10, samples=1797),
    ),
    _entry(
        "iris",
        "150 flowers, 4 measures, 3 classes.",
        "Smoke tests.",
        "scikit-learn load_iris (Fisher 1936)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(4,), classes=3, samples=150),
    ),
    _entry(
        "wine",
        "178 wines, 13 measures, 3 classes.",
        "Small tables.",
        "scikit-learn load_wine (UCI)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(13,), classes=3, samples=178),
    ),
    _entry(
        "breast_cancer",
        "569 biopsies, 30 measures, 2 classes.",
        "Binary classification.",
        "scikit-learn load_breast_cancer (UCI)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(30,), classes=2, samples=569),
    ),
    _entry(
        "diabetes",
        "442 patients, 10 measures; progression of the disease after a year, standardized.",
        "Regression.",
        "scikit-learn load_diabetes (Efron et al. 2004)",
        facts=DatasetFacts(task="regression", sample="vector", shape=(10,), samples=442),
    ),
    _entry(
        "xor",
        "The four corners of a square, repeated; opposite corners share a class. Validated on the corners themselves.",
        "To see that a hidden layer is needed.",
        "Minsky and Papert 1969",
        integer("repeats", 16, 1, 1_000_000, summary="copies of the four points in the training set"),
        number("noise", 0.0, 0, per_lane=False, summary="standard deviation added to the training points"),
        integer("split_seed", 0, 0, 2**32 - 1, summary="of the noise"),
        facts=DatasetFacts(task="classification", sample="vector", shape=(2,), classes=2),
        split=(),
    ),
    _entry(
        "adding",
        "Sequences of random numbers of which two are marked; the target is their sum.",
        "To see how far back a recurrent network remembers.",
        "Hochreiter and Schmidhuber 1997",
        integer("samples", 2000, 10, 10_000_000),
        integer("length", 20, 2, 100_000, summary="of each sequence"),
        facts=DatasetFacts(task="regression", sample="sequence"),
    ),
    _entry(
        "cycles",
        "Token sequences that count on by a stride of their own: after two tokens the rest is certain.",
        "Smoke tests of language models.",
        "token t = start + t stride, modulo the vocabulary",
        integer("samples", 500, 10, 10_000_000),
        integer("length", 16, 2, 100_000, summary="of each sequence"),
        integer("vocabulary", 11, 2, 1_000_000),
        facts=DatasetFacts(task="language", sample="tokens"),
    ),
    _entry(
        "reversal",
        "Pairs of token sequences, the second the first one backwards.",
        "Smoke tests of translation.",
        "target = reversed source",
        integer("samples", 1000, 10, 10_000_000),
        integer("length", 8, 1, 100_000, summary="of the longest sequence"),
        integer("vocabulary", 12, 1, 1_000_000),
        facts=DatasetFacts(task="translation", sample="pairs"),
    ),
    _entry(
        "csv",
        "A CSV file with a header; every column but the target is a feature and holds numbers.",
        "Your own table.",
        "pyarrow.csv",
        _PATH,
        _TARGET,
        _TASK,
        facts=DatasetFacts(task="classification", sample="vector", columns=("target",)),
    ),
    _entry(
        "parquet",
        "A Parquet file; every column but the target is a feature and holds numbers.",
        "Your own large table.",
        "pyarrow.parquet",
        _PATH,
        _TARGET,
        _TASK,
        facts=DatasetFacts(task="classification", sample="vector", columns=("target",)),
    ),
    _entry(
        "npz",
        "Arrays x ([n, features] or [n, channels, height, width]) and y ([n]) in one npz file.",
        "Your own arrays.",
        "numpy.savez",
        _PATH,
        _TASK,
        facts=DatasetFacts(task="classification", sample=None),
    ),
    _entry(
        "image_folder",
        "A folder with one folder of pictures a class.",
        "Your own pictures.",
        "Pillow",
        _PATH,
        integer("size", 32, 4, 4096, summary="pixels a side after resizing"),
        choice("colors", "rgb", ["rgb", "grey"]),
        facts=DatasetFacts(task="classification", sample="image"),
    ),
    _entry(
        "mnist",
        "MNIST or Fashion-MNIST: a folder with the four idx files, packed or not; t10k is the test part.",
        "70,000 digits or garments of 28x28 pixels.",
        "LeCun et al. 1998",
        _PATH,
        facts=DatasetFacts(task="classification", sample="image", shape=(1, 28, 28), classes=10, samples=60_000),
        split=(VALIDATION, SPLIT_SEED),
    ),
    _entry(
        "cifar10",
        "CIFAR-10 in its binary files: data_batch_1.bin to data_batch_5.bin, test_batch.bin.",
        "60,000 colour pictures of 32x32 pixels.",
        "Krizhevsky 2009",
        _PATH,
        facts=DatasetFacts(task="classification", sample="image", shape=(3, 32, 32), classes=10, samples=50_000),
        split=(VALIDATION, SPLIT_SEED),
    ),
    _entry(
        "text",
        "A plain text (WikiText, say) for a language model, as bytes or as words between blanks; cut in order.",
        "Language models.",
        "UTF-8",
        _PATH,
        choice("tokens", "bytes", ["bytes", "words"]),
        integer("length", 64, 1, 1_000_000, summary="tokens of one window"),
        integer("max_vocabulary", 10_000, 1, 10_000_000, summary="most frequent words kept; bytes are 256"),
        facts=DatasetFacts(task="language", sample="tokens"),
        split=(VALIDATION, TEST),
    ),
    _entry(
        "parallel_text",
        "Two plain texts (WMT, say) of which line i of one translates line i of the other; words between blanks.",
        "Translation.",
        "UTF-8",
        text("source", required=True, summary="file of the language to translate from"),
        text("target", required=True, summary="file of the language to translate to"),
        integer("max_length", 32, 1, 10_000, summary="words; longer lines are cut"),
        integer("max_vocabulary", 10_000, 1, 10_000_000, summary="most frequent words kept, of both languages together"),
        facts=DatasetFacts(task="translation", sample="pairs"),
    ),
    _entry(
        "coco",
        "Pictures with boxes in COCO's format: the annotations' JSON and the folder of its images.",
        "Detection.",
        "Lin et al. 2014, arXiv 1405.0312",
        text("path", required=True, summary="the annotations' JSON"),
        text("images", required=True, summary="folder of the images it names"),
        integer("size", 64, 8, 4096, summary="pixels a side after resizing"),
        integer("max_boxes", 50, 1, 10_000, summary="of one image; more are left out"),
        facts=DatasetFacts(task="detection", sample="scene"),
    ),
    _entry(
        "shapes",
        "One to three squares and discs on noise, with their boxes.",
        "Smoke tests of detection.",
        "drawn on the spot",
        integer("samples", 500, 10, 1_000_000),
        integer("size", 32, 16, 1024, summary="pixels a side"),
        facts=DatasetFacts(task="detection", sample="scene", classes=2),
    ),
)
