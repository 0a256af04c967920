from mim3d.metrics.comparison import ALL, Compared, Difference
from mim3d.metrics.statistics import Interval
from mim3d.reporting.comparison_tables import COLUMNS, as_csv, comparison_table, p_text
from mim3d.reporting.text_table import TextTable, in_markdown, on_screen

ROW = Difference(
    structure="liver",
    cases=12,
    patients=10,
    reference=0.8,
    other=0.85,
    difference=0.05,
    interval=Interval(0.01, 0.09),
    p_signed_rank=0.004,
    p_sign_flip=0.0002,
    corrected_signed_rank=0.008,
    corrected_sign_flip=0.0004,
)
COMPARED = Compared(measure="dice", reference="mae", other="mim", rows=(ROW,))


def test_a_comparison_says_on_how_many_it_rests_and_what_they_cannot_tell() -> None:
    table = comparison_table(COMPARED)
    assert table.title == "Dice: mim less mae, 12 cases of 10 patients (more is better)"
    assert table.rows == (
        ("liver", "0.800", "0.850", "+0.050", "0.010 to 0.090", "0.004", "0.008", "<0.001", "<0.001", "12"),
    )
    assert table.notes == ("With 10 patients no p can be below 0.00195, before correction.",)


def test_many_pairs_need_no_warning_and_one_has_no_interval() -> None:
    many = Difference(
        structure=ALL,
        cases=30,
        patients=30,
        reference=3.0,
        other=2.5,
        difference=-0.5,
        interval=None,
        p_signed_rank=1.0,
        p_sign_flip=1.0,
    )
    table = comparison_table(Compared(measure="hd95_mm", reference="a", other="b", rows=(many,)))
    assert table.title == "HD95 mm: b less a, 30 cases (less is better)"
    assert table.rows[0][:5] == (ALL, "3.0", "2.5", "-0.5", "-")
    assert table.notes == ()


def test_the_csv_has_all_digits() -> None:
    header, line = as_csv([COMPARED]).splitlines()
    assert tuple(header.split(",")) == COLUMNS
    assert line == "dice,mae,mim,liver,12,10,0.8,0.85,0.05,0.01,0.09,0.004,0.008,0.0002,0.0004"


def test_p_values_are_printed_with_three_digits() -> None:
    assert [p_text(p) for p in (0.0009, 0.001, 0.05, 1.0)] == ["<0.001", "0.001", "0.050", "1.000"]


def test_a_table_in_markdown_and_on_screen() -> None:
    table = TextTable(title="T", headings=("a", "b"), rows=(("x|y", "1"),), notes=("note",))
    assert in_markdown(table) == "**T**\n\n| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n\nnote\n"
    shown = on_screen(table)
    assert (shown.title, shown.caption, shown.row_count) == ("T", "note", 1)
