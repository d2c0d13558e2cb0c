"""Cells that spreadsheets do not compute."""

import pytest

from holdfast import csv_cells


@pytest.mark.parametrize("text", ["=1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "+1|cmd", "\uff1d1"])
def test_what_would_be_computed_is_text(text):
    assert csv_cells.plain(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Ann", "+14155550111", "1=1", "(415) 555-0111"])
def test_other_cells_stay_as_they_are(text):
    assert csv_cells.plain(text) == text
