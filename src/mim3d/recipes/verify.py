"""`mim3d verify`: a store in, every place where it is not what was written out."""

from mim3d.data.limits import cores
from mim3d.data.place import Place, place_of
from mim3d.data.verify import Damage, verify_store
from mim3d.errors import ConfigError
from mim3d.recipes.messages import say
from mim3d.recipes.progress import shown_progress


def verify(store: Place | str, /, *, workers: int | None = None) -> tuple[Damage, ...]:
    """Read every byte of a store, and tell which cases, arrays and chunks are not what was written.

    Args:
        store: A prepared store, its folder or URL.
        workers: Processes, one case each at a time; by default one per core.

    Returns:
        The places of damage by case; none, if the store is what was written.

    Raises:
        ConfigError: If `workers` is below 1.
        StoreError: If there is no store.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    with shown_progress("verify", "case") as on_case:
        found = verify_store(
            place_of(store),
            workers or cores(),
            lambda done, total, places: on_case(done, total, f", {places} places damaged" if places else ""),
        )
    say(f"{store}: {found.cases} cases, {found.chunks} chunks, {found.size / 1e6:.1f} MB read")
    if found.unsealed:
        say(
            f"warning: {found.unsealed} cases were written before files had checksums; of these the chunks "
            "and the content hash alone were checked: prepare into a new folder to have all checked"
        )
    return found.damage
