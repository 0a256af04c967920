"""What the parser of the command line says of a mistyped line, brought into one line of plain words."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

_PLAIN = (
    (r"invalid literal for int\(\) with base 10: (.*)", r"a whole number is needed, got \1"),
    (r"could not convert string to float: (.*)", r"a number is needed, got \1"),
    (r"no type matching (?:\{None\}\|)?(.*) could be instantiated from \[(.*)\]", r"\1 is needed, got \2"),
    (r"Could not parse arguments \[(.*)\] into tuple type [^\[]*\[(.*)\]", r"\2 are needed, got \1"),
)
"""What Python and tyro say of values, and what is said instead."""


def one_line(box: str, command: str) -> str:
    """What is wrong, what was likely meant, and which command's help tells more.

    Args:
        box: What the parser wrote: a title, parts between rules, and where help is.
        command: That the line names; empty where it names none.
    """
    lines = [line.strip("\u2502\u2570\u256f ") for line in box.splitlines()]
    _, *parts = re.split(r"\n.*[-\u2500]{3,}.*\n|\n\n", "\n".join(["", *lines, ""]))  # at rules, empty lines
    wrong, *more = [" ".join(part.split()) for part in parts if part.strip("-\u2500 \n")]
    wrong = _names_alone(wrong)
    for theirs, ours in _PLAIN:
        wrong = re.sub(theirs, ours, wrong)
    flag = _meant(lines, wrong, command)
    known = [part for part in more if part.startswith("Available subcommands")]
    if known:
        wrong = re.sub(r"Unrecognized options: ([^,]+).*", r"no such command: \1", wrong)
    said = [wrong.rstrip("."), *([f"did you mean {flag}?"] if flag else []), *known]
    program = f"mim3d {command}".rstrip()
    return "; ".join([*said, f"for all that it takes, run {program} --help"]) + _about_levels(wrong)


def _names_alone(wrong: str) -> str:
    """What is missing by its names, without the help that the parser has for each."""
    head, _, rest = wrong.partition(": ")
    if not head.startswith("Missing from"):
        return wrong
    words = (part.split() for part in rest.split("(required)") if part.strip())
    return f"{head}: {', '.join(' '.join(one[:2] if one[0].startswith('--') else one[:1]) for one in words)}"


def _meant(lines: Sequence[str], wrong: str, command: str) -> str:
    """Of the command's flags that the parser takes for similar, that most like the typed; empty if none."""
    flag, similar = "", list[str]()
    for line in lines:
        if line.startswith("--"):
            flag = line.split()[0]
        elif line == f"in mim3d {command} --help":
            similar.append(flag)
    typed = re.search(r"--\w[\w.-]*", wrong)
    alike = SequenceMatcher(b="" if typed is None else typed.group())

    def likeness(one: str) -> float:
        alike.set_seq1(one)
        return alike.ratio()

    return max(similar, key=likeness, default="")


def _about_levels(said: str) -> str:
    """How to change the number of levels, where an error says that a flag for it is not known."""
    if not re.search(r"Unrecognized options:.* --(nesting\.)?levels\b", said):
        return ""
    return (
        "; `--nesting.levels.0` is the outermost of as many levels as the preset or the configuration has: "
        "another number of levels needs another configuration (`--config`, docs/runs.md)"
    )
