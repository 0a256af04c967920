"""`mim3d datasets`: what is known of public data sets."""

from mim3d.data.recipe import load_recipe, recipe_names
from mim3d.data.recipe_text import listing, page


def datasets(name: str | None = None, /) -> str:
    """List the public data sets that `prepare` knows; or tell all about one, and how to get it.

    Args:
        name: Of one data set; by default all are listed.

    Returns:
        Text to show.

    Raises:
        ConfigError: If there is no such data set.
    """
    if name is not None:
        return page(load_recipe(name))
    return listing([load_recipe(one) for one in recipe_names()])
