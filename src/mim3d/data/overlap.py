"""The same scan twice: in one store, or in two, under whatever names and at whatever spacings."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from mim3d.data.arrays import open_array, read_view, turned
from mim3d.data.case_channels import modalities_of
from mim3d.data.catalog import Case, Catalog, chosen
from mim3d.data.perceptual import LIKELY, close_pairs, perceptual_hash
from mim3d.data.place import Place
from mim3d.data.pool import in_processes
from mim3d.data.store import Store

Progress = Callable[[int, int], None]
"""Called with the cases hashed and all that have to be."""

COARSEST = 4.0
"""Voxels that a hash is made from where a case has none, mm."""


@dataclass(frozen=True, slots=True)
class Twin:
    """Two cases that are likely one scan."""

    one: str
    other: str
    distance: float
    """Of the perceptual hashes, no unit; 0: the same hash."""
    identical: bool
    """Whether the same voxels, labels and spacing are stored."""
    one_split: str
    other_split: str

    @property
    def crosses_splits(self) -> bool:
        """Whether one is trained on and the other is not."""
        return self.one_split != self.other_split


@dataclass(frozen=True, slots=True)
class Hashed:
    """What is compared of a number of cases; the lists run side by side."""

    names: list[str]
    splits: list[str]
    contents: list[str]
    hashes: list[str]


def hashed(catalog: Catalog) -> Hashed:
    """What is compared of those cases of a catalog that have a perceptual hash."""
    hashes = catalog.column("perceptual_hash")
    having = [place for place, known in enumerate(hashes) if known]
    known = Catalog(chosen(catalog.cases, having))
    columns = [known.column(name) for name in ("case", "split", "hash", "perceptual_hash")]
    return Hashed(*columns)


def with_hashes(store: Store, workers: int, on_progress: Progress = lambda _done, _all: None) -> Hashed:
    """What is compared of all cases of a store; hashes that cases lack are made now."""
    found = hashed(store.catalog)
    known = set(found.names)
    lacking = [name for name in store.catalog.column("case") if name not in known]
    tasks = [(store.folder(name), store.case(name)) for name in lacking]
    for done, case in enumerate(in_processes(_hash_now, tasks, workers), start=1):
        for column, value in zip(
            (found.names, found.splits, found.contents, found.hashes),
            (case.case, case.split, case.hash, case.perceptual_hash),
            strict=True,
        ):
            column.append(value)
        on_progress(done, len(tasks))
    return found


def twins_within(all_of: Hashed, among: Collection[str] | None = None, within: float = LIKELY) -> list[Twin]:
    """Pairs of one store, closest first; with `among`, those with one of these cases at least."""
    wanted = [place for place, name in enumerate(all_of.names) if among is None or name in among]
    new = {place: number for number, place in enumerate(wanted)}
    pairs = close_pairs([all_of.hashes[place] for place in wanted], all_of.hashes, within)
    found = []
    for number, other, distance in pairs:
        one = wanted[number]
        if one != other and (other not in new or one < other):
            found.append(_twin(all_of, one, all_of, other, distance))
    return _sorted(found)


def twins_between(ours: Hashed, theirs: Hashed, within: float = LIKELY) -> list[Twin]:
    """Pairs of one case of each of two stores, closest first."""
    pairs = close_pairs(ours.hashes, theirs.hashes, within)
    return _sorted([_twin(ours, one, theirs, other, distance) for one, other, distance in pairs])


def rows(twins: Collection[Twin]) -> Iterator[tuple[str, ...]]:
    """A table of pairs, its heading first."""
    yield ("case", "split", "other", "other_split", "distance", "same_content")
    for twin in twins:
        same = "yes" if twin.identical else "no"
        yield (twin.one, twin.one_split, twin.other, twin.other_split, f"{twin.distance:.3f}", same)


def _twin(ours: Hashed, one: int, theirs: Hashed, other: int, distance: float) -> Twin:
    return Twin(
        ours.names[one],
        theirs.names[other],
        distance,
        ours.contents[one] == theirs.contents[other],
        ours.splits[one],
        theirs.splits[other],
    )


def _sorted(twins: list[Twin]) -> list[Twin]:
    return sorted(twins, key=lambda twin: (twin.distance, twin.one, twin.other))


def _hash_now(task: tuple[Place, Case]) -> Case:
    """The case with its hash, from the coarsest scale that is fine enough."""
    folder, case = task
    fine = [scale for scale in range(case.scales) if max(case.spacing) * 2**scale <= COARSEST]
    scale = max(fine, default=0)
    array = turned(read_view(folder, str(scale), open_array(folder, str(scale))))
    first = array if array.ndim == 3 else array[0]  # of several channels
    x, y, z = (side * 2.0**scale for side in case.spacing)
    return replace(case, perceptual_hash=perceptual_hash(first, (x, y, z), modalities_of(case)[0]))
