"""The command that tells of public data sets."""

from typing import Annotated

import tyro

DataSetName = Annotated[str, tyro.conf.arg(metavar="NAME")]


def datasets(name: DataSetName | None = None, /) -> None:
    """List the public data sets that `prepare --recipe` knows; or tell all about one, and how to get it.

    Args:
        name: Of one data set; by default all are listed.
    """
    from mim3d.recipes.datasets import datasets

    print(datasets(name))
