"""The built-in dates: truth is written by hand, read back by brute force, or taken from datetime."""

from __future__ import annotations

import re
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from seqloom.data import dates
from seqloom.errors import DataError, MissingExtraError, UsageError

pytest.importorskip("babel")

FRIDAY = date(2021, 3, 5)
LEAP_YEAR = [date(2020, 1, 1) + timedelta(days=number) for number in range(366)]
NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


def written(locale: str, day: date) -> set[str | None]:
    return {form.write(day) for form in dates.forms(locale)}


def numbers(text: str) -> list[int]:
    """Every run of digits, of any script."""
    return [int(run) for run in re.findall(r"\d+", text)]


def readings(text: str) -> set[date]:
    """Every date that the last three numbers of a text can mean: year first is year, month, day, else day or month."""
    first, second, third = numbers(text)[-3:]
    triples = [(first, second, third)] if first > 31 else [(third, first, second), (third, second, first)]
    return {date(year, month, day) for year, month, day in triples if month <= 12}


@pytest.mark.parametrize(("locale", "source"), [
    ("ko", "2021년 3월 5일 금요일"), ("ko", "2021년 3월 5일"), ("ko", "2021. 3. 5."), ("ja", "2021年3月5日金曜日"),
    ("zh", "2021年3月5日星期五"), ("zh_Hant", "2021年3月5日 星期五"), ("de", "5. März 2021"),
    ("de", "Freitag, 5. März 2021"), ("en", "March 5, 2021"), ("en", "Friday, March 5, 2021"), ("en", "Mar 5, 2021"),
    ("en_GB", "5 March 2021"), ("fr", "vendredi 5 mars 2021"), ("es", "viernes, 5 de marzo de 2021"),
    ("it", "5 marzo 2021"), ("nl", "vrijdag 5 maart 2021"), ("pl", "5 marca 2021"), ("cs", "pátek 5. března 2021"),
    ("fi", "5. maaliskuuta 2021"), ("hu", "2021. március 5."), ("sv", "2021-03-05"), ("tr", "5 Mart 2021"),
    ("ru", f"5 марта 2021{NARROW_SPACE}г."), ("el", "5 Μαρτίου 2021"), ("hi", "5 मार्च 2021"), ("mr", "५ मार्च, २०२१"),
    ("th", "5 มีนาคม ค.ศ. 2021"), ("fa", "۵ مارس ۲۰۲۱"), ("ar_EG", "٥ مارس ٢٠٢١"), ("vi", "5 tháng 3, 2021"),
    ("he", "5 במרץ 2021"), ("id", "5 Maret 2021"),
])
def test_written_by_hand(locale: str, source: str) -> None:
    assert source in written(locale, FRIDAY)


@pytest.mark.parametrize(("day", "kept"), [(date(2020, 3, 4), False), (date(2020, 4, 13), True),
                                           (date(2020, 4, 4), True), (date(2020, 12, 12), True)])
def test_numbers_that_need_the_locale_are_left_out(day: date, kept: bool) -> None:
    assert (f"{day:%d/%m/%Y}" in written("en_GB", day)) == kept
    assert f"{day:%Y-%m-%d}" in written("sv", day)


def test_ambiguity_rule_against_every_reading() -> None:
    checked = 0
    for form in [form for locale in dates.LOCALES for form in dates.forms(locale) if not form.names]:
        for day in LEAP_YEAR[::3]:
            text = form.pattern.apply(day, form.locale).translate(form.digits)
            assert form.write(day) == (text if readings(text) == {day} else None)
            checked += 1
    assert checked > 10_000


def test_rule_for_every_order() -> None:
    for month, day in [(month, day) for month in range(1, 13) for day in range(1, 32)]:
        assert dates.is_readable("yMd", False, month, day)
        assert dates.is_readable("Mdy", True, month, day)
        for order in ("dMy", "Mdy", "ydM"):    # 2020-13-04 has one reading, 2020-04-03 is read as ISO 8601 reads it
            assert dates.is_readable(order, False, month, day) == (day > 12 or day == month)


def test_a_source_never_has_two_targets() -> None:
    found: dict[str, date] = {}
    for form in [form for locale in dates.LOCALES for form in dates.forms(locale)]:
        for day in LEAP_YEAR[::2]:
            source = form.write(day)
            assert source is None or found.setdefault(source, day) == day
    assert len(found) > 30_000


def test_ambiguous_names_are_found_and_left_out_everywhere() -> None:
    names = [("Listopada", 10), ("listopada", 11), ("mar.", 3), ("Mar", 3), ("LIP", 6), ("lip.", 7)]
    assert dates.ambiguous_names(names) == {"listopada", "lip"}
    assert not any("listopada" in (text or "") for text in written("hr", date(2020, 10, 20)))
    assert not any("listopada" in (text or "") for text in written("pl", date(2020, 11, 20)))
    assert any("listopadu" in (text or "") for text in written("cs", date(2020, 11, 20)))


def test_names_mean_one_month_over_all_locales() -> None:
    months: dict[str, int] = {}
    for locale in dates.LOCALES:
        for form in dates.forms(locale):
            for month in form.months if form.names else ():
                assert months.setdefault(form.names[month - 1].casefold().strip("."), month) == month
    assert len(months) > 500


def test_examples_hold_what_is_needed_to_read_them() -> None:
    examples = list(dates.generate(3000, seed=3))
    for source, target, locale in examples:
        day = date.fromisoformat(target)
        assert dates.FIRST_DAY <= day <= dates.LAST_DAY
        assert target == day.isoformat()
        assert {day.year, day.day} <= set(numbers(source)), (source, target, locale)
        assert not source[0].isspace()
        assert not source[-1].isspace()
        assert "\t" not in source
        assert "\n" not in source
    assert len({source for source, _, _ in examples}) == 3000
    shares = Counter(locale for _, _, locale in examples)
    assert len(shares) >= 40
    assert "ko" in shares
    assert max(shares.values()) - min(shares.values()) <= 1


@pytest.mark.parametrize("locale", ["ar_EG", "bn", "fa", "mr", "my", "ne"])
def test_locales_keep_their_digits(locale: str) -> None:
    texts = [text for text in written(locale, date(2019, 8, 27)) if text]
    assert texts
    assert all(re.search(r"\d{4}", text) and not re.search("[0-9]", text) for text in texts)


def test_the_same_seed_gives_the_same_examples() -> None:
    assert list(dates.generate(200, seed=5)) == list(dates.generate(200, seed=5))
    assert list(dates.generate(200, seed=5)) != list(dates.generate(200, seed=6))


def test_splits_share_neither_sources_nor_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = dates.write_dates(tmp_path / "new", train=2000, valid=1000, test=1000, seed=1)
    rows = {split: [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
            for split, path in paths.items()}
    assert {split: len(found) for split, found in rows.items()} == {"train": 2000, "valid": 1000, "test": 1000}
    for column in (0, 1):
        columns = [{row[column] for row in found} for found in rows.values()]
        assert len(set.union(*columns)) == sum(map(len, columns))
    assert [path.name for path in paths.values()] == ["train.tsv", "valid.tsv", "test.tsv"]
    again = dates.write_dates(tmp_path / "again", train=2000, valid=1000, test=1000, seed=1)
    assert all(paths[split].read_bytes() == again[split].read_bytes() for split in paths)
    assert capsys.readouterr() == ("", "")


def test_more_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dates, "LAST_DAY", dates.FIRST_DAY)
    with pytest.raises(DataError, match=r"1000 different dates were asked for, but 1 days written in \w+ gave no new"):
        list(dates.generate(1000, seed=1))


def test_a_count_below_one_is_an_error() -> None:
    with pytest.raises(UsageError, match="0 dates were asked for, expected 1 or more"):
        list(dates.generate(0, seed=1))


def test_without_babel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    dates._all_forms.cache_clear()
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(MissingExtraError, match=r"making the built-in dates needs the package 'babel'"):
        list(dates.generate(1, seed=1))
