"""Migrations as files: which are there, which are to be applied."""

from pathlib import Path

import pytest

from chassis.migrations import Migration, MigrationError, outstanding, read

ONE, TWO = Migration(1, "0001_a.sql", "create table a (b int);"), Migration(2, "0002_b.sql", "x")


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10_ten.sql", "2_two.sql", "0001_one.sql"):
        (tmp_path / name).write_text(name)
    (tmp_path / "notes.txt").write_text("not one")
    assert [migration.number for migration in read(tmp_path)] == [1, 2, 10]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["first.sql"], "call it NUMBER_name.sql"),
        (["1_a.sql", "01_b.sql"], "has the number 1, too"),
    ],
)
def test_a_folder_that_is_no_row_is_refused(names: list[str], words: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(MigrationError, match=words):
        read(tmp_path)
    with pytest.raises(MigrationError, match="no folder of migrations"):
        read(tmp_path / "none")


def test_only_what_was_not_applied_is_to_be() -> None:
    assert outstanding([ONE, TWO], {}) == [ONE, TWO]
    assert outstanding([ONE, TWO], {1: ONE.digest}) == [TWO]
    assert outstanding([ONE], {1: ONE.digest, 2: "of newer code"}) == []


def test_history_is_not_to_be_changed() -> None:
    with pytest.raises(MigrationError, match=r"0001_a.sql was edited after it was applied"):
        outstanding([ONE], {1: "another"})
    with pytest.raises(MigrationError, match=r"0001_a.sql comes too late: 2 is applied"):
        outstanding([ONE, TWO], {2: TWO.digest})


def test_statements_end_where_they_do_and_not_at_each_semicolon() -> None:
    text = """\
-- a; comment
create table a (b text default ';');
create trigger t after insert on a begin
  update a set b = '1'; delete from a;
end;
insert into a values ('x -- y')
"""
    found = list(Migration(1, "", text).statements())
    assert [statement.split()[-1] for statement in found] == ["';');", "end;", "y')"]
    assert list(Migration(1, "", "-- nothing\n/* at; all */\n").statements()) == []
