"""Tables as they are written everywhere."""

from threestudio_like import markdown


def test_columns_are_of_equal_width_and_numbers_short() -> None:
    lines = markdown.table(["name", "iou"], [["a", 0.123456], ["longer", None], [3, 12]]).splitlines()
    assert lines == [
        "| name   | iou    |",
        "| ------ | ------ |",
        "| a      | 0.1235 |",
        "| longer |        |",
        "| 3      | 12     |",
    ]


def test_no_cell_ends_its_line_or_tells_a_terminal_anything() -> None:
    said = markdown.table(["a"], [["one|two\nthree\x1b[31m"]])
    assert said.splitlines()[-1] == "| one\\|two three [31m |"


def test_a_table_of_nothing_has_its_head() -> None:
    assert markdown.table(["a", "b"], []) == "| a   | b   |\n| --- | --- |"
