"""Lists of persons who stay out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.whole_run import read_output, run_cli
from tests.exports.small_exports import NOW, OPEN, avro, path, rows, write
from transforms.errors import UsageError
from transforms.privacy.suppression import read_suppressed

LATER = "2026-08-01-17"


def test_ids_are_taken_once_in_one_order_behind_their_kind(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("user_id:b\n\n external_user_id: a:b \nuser_id:a\nuser_id:b\n")
    found = read_suppressed(str(tmp_path / "ids"))
    assert tuple(found) == (("a", "b"), ("a:b",))
    (tmp_path / "same").write_text("external_user_id:a:b\nuser_id:a\nuser_id:b")
    assert read_suppressed(str(tmp_path / "same")).digest == found.digest


def test_lines_of_another_form_are_refused_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("user_id:a\n" + "ada\nuser_id:\ndevice_id:d\n" * 4)
    with pytest.raises(UsageError, match=r"line\(s\) 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more do not have the form"):
        read_suppressed(str(tmp_path / "ids"))
    with pytest.raises(UsageError, match="is not a file"):
        read_suppressed(str(tmp_path / "none"))


def test_every_row_of_a_suppressed_person_is_withheld_in_all_shards(tmp_path: Path) -> None:
    # A row of the person without a Braze profile, in a file of its own: whom it names is told from the other's rows.
    alone = [{**row, "user_id": None, "external_user_id": "user-1"} for row in rows("alone", 1)]
    write(tmp_path / "in", {path("a"): avro(rows("a")), path("b", hour="2026-02-01-18"): avro(alone)})
    (tmp_path / "ids").write_text("user_id:profile-1\n")
    done = run_cli(tmp_path / "in", tmp_path / "out", f"--now={NOW}", f"--suppress={tmp_path / 'ids'}")
    assert done.returncode == 0, done.stderr
    actual = read_output(tmp_path / "out")
    assert actual.report["withheld_by_type"] == {OPEN: {"suppressed": 5}}
    left = b"".join(actual.event_lines)
    assert (b"profile-1" in left, b"user-1" in left, b"user-2" in left) == (False, False, True)


@pytest.mark.parametrize(("hour", "suppressed", "warned"), [("2026-02-01-17", False, True), (LATER, False, False)])
def test_hours_before_deletions_were_exported_are_a_warning(
    hour: str, suppressed: bool, warned: bool, tmp_path: Path
) -> None:
    write(tmp_path / "in", {path("a", hour=hour): avro(rows("a"))})
    assert run_cli(tmp_path / "in", tmp_path / "out", f"--now={NOW + 20_000_000}").returncode == 0
    report = read_output(tmp_path / "out").report
    assert report["deletions_known_since"] is None
    assert any("deletions on request" in warning for warning in report["warnings"]) is warned
