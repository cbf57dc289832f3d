"""Which example is in which split: given ones, or a seeded, stratified, deduplicated cut.

No text is on two sides. An example's place depends on the seed and its own text, not on the order
of the file: the same rows in another order are split the same way.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import gin

from sentiment_train.config import Part
from sentiment_train.errors import DataError, did_you_mean
from sentiment_train.schema import SPLITS, BadRow, Example, Source

_REPORTED_BAD_ROWS = 5


@gin.configurable
@dataclass(frozen=True)
class Splits(Part):
    """How the examples of a source are divided.

    Splits that the source gives are used as they are, but a missing validation split is cut from
    the training split, and a text of a given test or validation split is taken out of it.

    Confidence only shapes the training split, and only after the cut: whatever is tried there is
    compared on the same examples.
    """

    validation: float = 0.1  # share of the examples; 0: none, so nothing to choose the best by
    test: float = 0.1
    seed: int = 0
    deduplicate: bool = True
    max_examples: int | None = None  # so many of all, of each class and given split its share
    confidence_above: float | None = None  # train only on examples with more confidence than this
    confidence_as_weight: bool = False  # train with weight · confidence

    def check(self):
        for name in ("validation", "test"):
            self.require(0 <= getattr(self, name) < 1, name, "from 0 to less than 1")
        self.require(self.validation + self.test < 1, "test", "validation + test below 1")
        most, least = self.max_examples, self.confidence_above
        self.require(most is None or most >= 2, "max_examples", "at least 2")
        self.require(least is None or 0 <= least < 1, "confidence_above", "from 0 to less than 1")


@dataclass
class SplitTexts:
    """The examples of each split, with what was found on the way."""

    splits: dict[str, list[Example]]
    class_names: tuple[str, ...]
    duplicates: int = 0
    conflicting: int = 0  # duplicates whose label differed from that of the text that was kept
    beyond_max: int = 0  # examples that `max_examples` leaves out
    low_confidence: int = 0  # training examples that `confidence_above` leaves out
    bad_rows: int = 0
    bad_row_messages: list[str] = field(default_factory=list)


def split(source: Source, rules: Splits) -> SplitTexts:
    """Reads a source and divides it.

    Raises:
      DataError: if there are no examples, only one class, or a class the training split lacks,
        from the beginning or once duplicates and doubtful examples are left out.
    """
    result = SplitTexts({}, ())
    given = {
        name: list(_examples(rows, result))
        for name, rows in sorted(source.splits().items(), key=lambda item: _order(item[0]))
    }
    if unknown := set(given) - {*SPLITS, "all"}:
        raise DataError(f"{_name(source)} gives unknown splits {sorted(unknown)}; known: {SPLITS}.")
    if {"all", "train"} <= set(given):
        raise DataError(f"{_name(source)} gives both 'all' and 'train'; give one of them.")
    divisible = "all" in given  # else the source has said what is for training and what is not
    pool = given.pop("all", None) or given.pop("train", [])
    if not pool:
        raise DataError(f"{_name(source)}: no training examples.")
    if rules.deduplicate:
        before = pool
        pool, given = _without_duplicates(pool, given, result)
        _check_distinct(before, pool, source)
    if rules.max_examples is not None:
        pool, given = _subset({"pool": pool, **given}, rules, result)
    wanted = {"validation": rules.validation} if "validation" not in given else {}
    if divisible:
        wanted = {"test": rules.test, **wanted}
    result.splits = {**_stratified(pool, wanted, rules.seed), **given}
    _heed_confidence(result, rules)
    result.splits = {name: result.splits[name] for name in SPLITS if result.splits.get(name)}
    result.class_names = _class_names(source, result.splits)
    return result


def _order(name: str) -> int:
    return SPLITS.index(name) if name in SPLITS else -1


def _name(source: Source) -> str:
    return getattr(source, "description", type(source).__name__)


def _examples(rows: Iterable[Example | BadRow], result: SplitTexts) -> Iterable[Example]:
    for row in rows:
        if isinstance(row, BadRow):
            result.bad_rows += 1
            if result.bad_rows <= _REPORTED_BAD_ROWS:
                result.bad_row_messages.append(row.message)
        elif isinstance(row.text, str) and isinstance(row.label, str):
            yield row
        else:
            raise DataError(f"{row.where or row}: text and label of an Example must be strings.")


def _without_duplicates(pool, given, result: SplitTexts):
    """Keeps the first of equal texts; a text of the test split is taken out of the others."""
    seen: dict[str, str] = {}
    kept = {}
    for name in ("test", "validation", "pool"):
        kept[name] = []
        before = dict(seen) if name == "test" else seen
        for example in pool if name == "pool" else given.get(name, []):
            key = _without_whitespace(example.text)
            if key in before:
                result.duplicates += 1
                result.conflicting += seen[key] != example.label
            else:
                seen[key] = example.label
                kept[name].append(example)
    return kept["pool"], {name: kept[name] for name in given}


def _check_distinct(before: list[Example], after: list[Example], source: Source) -> None:
    """Raises DataError if two classes became one because (nearly) all texts are equal."""
    if after and len({e.label for e in after}) < 2 <= len({e.label for e in before}):
        raise DataError(
            f"{_name(source)}: of {len(before):,} training examples only {len(after):,} have a text"
            f" of their own (the first: {before[0].text[:40]!r}), and no two labels are left. Is it"
            " the right text column?"
        )


def _without_whitespace(text: str) -> str:
    """What two texts have in common that differ in nothing but their whitespace."""
    return " ".join(text.split())


def _ranked(examples: list[Example], seed: int, purpose: bytes = b"") -> dict[str, list]:
    """By class: `(digest of seed and text, position)` of its examples, the smallest first."""
    by_class = defaultdict(list)
    for position, example in enumerate(examples):
        text = f"{seed}\0{_without_whitespace(example.text)}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, person=purpose).digest()
        by_class[example.label].append((digest, position))
    return {label: sorted(ranked) for label, ranked in by_class.items()}


def _subset(parts: dict[str, list[Example]], rules: Splits, result: SplitTexts):
    """`max_examples` of all parts: of each class in each part the same share, but at least one."""
    places = [
        (rank / len(ranked), digest, name, position)
        for name, examples in parts.items()
        for ranked in _ranked(examples, rules.seed, b"max_examples").values()
        for rank, (digest, position) in enumerate(ranked)
    ]
    chosen = {(name, position) for *_, name, position in sorted(places)[: rules.max_examples]}
    result.beyond_max = len(places) - len(chosen)
    parts = {
        name: [example for position, example in enumerate(examples) if (name, position) in chosen]
        for name, examples in parts.items()
    }
    return parts.pop("pool"), parts


def _stratified(pool: list[Example], wanted: dict[str, float], seed: int):
    """Cuts `wanted` shares of each class off the pool; the rest is the training split."""
    chosen = {}
    for ranked in _ranked(pool, seed).values():
        start = 0
        for name, share in wanted.items():
            end = min(start + round(share * len(ranked)), len(ranked) - 1)  # one is left to train
            chosen.update((position, name) for _, position in ranked[start:end])
            start = end
    result = {name: [] for name in ("train", *wanted)}
    for position, example in enumerate(pool):
        result[chosen.get(position, "train")].append(example)
    return result


def _heed_confidence(result: SplitTexts, rules: Splits) -> None:
    """Filters and weighs the training split, and no other.

    Raises:
      DataError: if a class has no training examples left.
    """
    train, least = result.splits["train"], rules.confidence_above
    heeded = least is not None or rules.confidence_as_weight
    if heeded and all(example.confidence == 1.0 for example in train):
        raise DataError(
            "Splits heeds the confidence of the labels, but every example has 1.0. Name the column"
            " that has it, such as CsvSource.confidence_column."
        )
    if least is not None:
        kept = [example for example in train if example.confidence > least]
        if lost := {e.label for e in train} - {e.label for e in kept}:
            raise DataError(
                f"Splits.confidence_above = {least} leaves no training example of the class"
                f" '{min(lost)}'; none has more confidence than that. Lower it."
            )
        result.low_confidence, train = len(train) - len(kept), kept
    if rules.confidence_as_weight:
        train = [e._replace(weight=e.weight * e.confidence) for e in train]
    result.splits["train"] = train


def _class_names(source: Source, splits: dict[str, list[Example]]) -> tuple[str, ...]:
    """The names in class order: as the source says, else sorted (numbers by value)."""
    if "train" not in splits:
        raise DataError(f"{_name(source)}: no examples are left for training.")
    counts = Counter(example.label for example in splits["train"])
    names = getattr(source, "class_names", None)
    if not names:
        numeric = all(name.removeprefix("-").isdecimal() for name in counts)
        names = tuple(sorted(counts, key=int if numeric else None))
    if len(names) < 2 or len(counts) < 2:
        only = next(iter(counts))
        raise DataError(
            f"{_name(source)}: all {len(splits['train']):,} training examples have the label"
            f" '{only}'; a classifier needs two classes. Is it the right label column?"
        )
    for split_name, examples in splits.items():
        if not any(example.weight > 0 for example in examples):
            raise DataError(f"{_name(source)}: all examples of the {split_name} split weigh 0.")
        for example in examples:
            if example.label not in counts or example.label not in names:
                known = ", ".join(f"'{name}'" for name in names)
                raise DataError(
                    f"{example.where or split_name}: label '{example.label}' in the {split_name}"
                    f" split is not in the training split ({known})."
                    f"{did_you_mean(example.label, names)}"
                )
    return names
