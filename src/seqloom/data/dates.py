"""The built-in data set: dates as people write them in many locales → ISO 8601 (YYYY-MM-DD).

Sources are written with Babel's CLDR patterns (full, long, medium, short and the skeletons with year, month and day,
with and without weekday) and the locale's own digits. Every example can be read without knowing its locale:

- years have four digits (patterns with a two-digit year are left out), and the calendar is the Gregorian one;
- a date whose month is a number is kept if it is written year, month, day, or if the day is above 12, or if day and
  month are equal: `13/04/2020` and `04/04/2020` stay, `03/04/2020` goes (`is_readable`);
- a month name that means different months in two locales (listopad is October in Croatian, November in Polish) is
  left out in all of them (`ambiguous_names`).

What is not covered: non-Gregorian calendars, eras, ordinals and relative dates; the text follows the installed
version of Babel, so that the same seed gives the same examples with the same Babel.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from seqloom.errors import DataError, MissingExtraError, UsageError

FIRST_DAY, LAST_DAY = date(1950, 1, 1), date(2049, 12, 31)

LOCALES = (
    "af", "ar", "ar_EG", "az", "be", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "en_GB", "es", "et", "eu", "fa",
    "fi", "fil", "fr", "gl", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "ko", "lt", "lv", "mk",
    "mn", "mr", "ms", "my", "nb", "ne", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "sw", "ta", "te",
    "th", "tr", "uk", "ur", "uz", "vi", "zh", "zh_Hant",
)

# The digit zero of the numbering systems that are some locale's default (CLDR supplemental/numberingSystems.xml).
ZEROS = {"latn": "0", "arab": "٠", "arabext": "۰", "beng": "০", "deva": "०", "mymr": "၀"}

# Parts of the calendar that train, valid and test draw from: the days of one are never seen in another.
DAY_SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}

_ATTEMPTS = 2000    # draws in vain before a locale counts as used up


def is_readable(order: str, named: bool, month: int, day: int) -> bool:
    """Whether a Gregorian date with a four-digit year can be read without knowing the locale.

    order: the fields as they stand, a permutation of "y", "M", "d"; named: the month is a word, not a number.
    Year first is read as ISO 8601 does, year, month, day; any other order of numbers is open (day or month first)
    unless only one reading is a date (day > 12) or both are the same date (day = month).
    """
    return named or order == "yMd" or day > 12 or day == month


def ambiguous_names(names: Iterable[tuple[str, int]]) -> set[str]:
    """The month names (as `plain_name` writes them) that stand for more than one month."""
    months: defaultdict[str, set[int]] = defaultdict(set)
    for name, month in names:
        months[plain_name(name)].add(month)
    return {name for name, found in months.items() if len(found) > 1}


def plain_name(name: str) -> str:
    """A month name without case, accents' encoding, dots and spaces: what two locales must not share by accident."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if unicodedata.category(character)[0] not in "PZ")


@dataclass(frozen=True)
class Form:
    """One way to write a date in one locale.

    locale: CLDR name ("de", "zh_Hant"); pattern: Babel's date pattern; digits: ASCII digit → the locale's digit;
    order: "dMy" and so on; names: the twelve month names it writes, empty when it writes the month as a number;
    months: those whose name is not ambiguous.
    """

    locale: Any
    pattern: Any
    digits: dict[int, str]
    order: str
    names: tuple[str, ...]
    months: frozenset[int]

    def write(self, day: date) -> str | None:
        """The date as text; None where it could not be read without knowing the locale."""
        if day.month not in self.months or not is_readable(self.order, bool(self.names), day.month, day.day):
            return None
        text: str = self.pattern.apply(day, self.locale)
        return text.translate(self.digits) if self.digits else text


def generate(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """`count` different (source, ISO 8601 target, locale), as many of each locale (± 1), days even over 1950-2049.

    No source comes twice. The same seed and Babel version give the same examples. Raises MissingExtraError without
    Babel, UsageError for a count below 1, DataError when so many different examples do not exist.
    """
    return _draw(_calendar(), count, random.Random(seed))


def write_dates(folder: str | Path, train: int = 25_000, valid: int = 1000, test: int = 1000,
                seed: int = 1) -> dict[str, Path]:
    """Write train.tsv, valid.tsv and test.tsv (source, tab, target; UTF-8) into `folder`; the paths by split.

    The calendar is divided first: no day of one split occurs in another, in any locale or form. So no source is
    shared either, and a model cannot answer a test date by having seen that day in another language.
    """
    days = _calendar()
    generator = random.Random(seed)
    generator.shuffle(days)
    paths: dict[str, Path] = {}
    Path(folder).mkdir(parents=True, exist_ok=True)
    start = 0
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        end = start + int(len(days) * DAY_SHARES[split])
        lines = [f"{source}\t{target}\n" for source, target, _ in _draw(days[start:end], count, generator)]
        paths[split] = Path(folder) / f"{split}.tsv"
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
        start = end
    return paths


def forms(locale: str) -> list[Form]:
    """Every form of one locale, ambiguous month names already taken out."""
    return list(_all_forms()[locale])


def _calendar() -> list[date]:
    return [FIRST_DAY + timedelta(days=number) for number in range((LAST_DAY - FIRST_DAY).days + 1)]


def _draw(days: Sequence[date], count: int, generator: random.Random) -> Iterator[tuple[str, str, str]]:
    """Rounds over all locales in random order; in each a form and a day at random, until it is new and readable."""
    if count < 1:
        raise UsageError(f"{count} dates were asked for, expected 1 or more")
    table = _all_forms()
    order = list(table)
    seen: set[str] = set()
    while len(seen) < count:
        generator.shuffle(order)
        for locale in order[:count - len(seen)]:
            for _ in range(_ATTEMPTS):
                day = generator.choice(days)
                source = generator.choice(table[locale]).write(day)
                # A source that came before is not given again, so it can never have a second target.
                if source is not None and source not in seen:
                    seen.add(source)
                    yield source, day.isoformat(), locale
                    break
            else:
                raise DataError(f"{count} different dates were asked for, but {len(days)} days written in {locale} "
                                f"gave no new one after {len(seen)}", fix="ask for fewer examples")


@cache
def _all_forms() -> dict[str, tuple[Form, ...]]:
    """Locale → its forms. Two passes: names are ambiguous or not only once all locales are known."""
    found = {locale: _read_forms(locale) for locale in LOCALES}
    bad = ambiguous_names((name, month) for locale in found for form in found[locale]
                          for month, name in enumerate(form.names, start=1))
    return {locale: tuple(_without(form, bad) for form in found[locale]) for locale in found}


def _without(form: Form, bad: set[str]) -> Form:
    """The form without the months whose name is in `bad`."""
    kept = form.months - {month for month, name in enumerate(form.names, start=1) if plain_name(name) in bad}
    return Form(form.locale, form.pattern, form.digits, form.order, form.names, frozenset(kept))


def _read_forms(name: str) -> list[Form]:
    """CLDR's Gregorian forms of one locale with a four-digit year, a month and a day, each pattern once."""
    try:
        from babel import Locale
        from babel.dates import parse_pattern
    except ImportError as error:
        raise MissingExtraError("babel", "train", "making the built-in dates") from error
    locale = Locale.parse(name)
    skeletons = [str(pattern.pattern) for skeleton, pattern in sorted(locale.datetime_skeletons.items())
                 if set(skeleton) <= set("yMLdEc")]
    patterns = dict.fromkeys([str(locale.date_formats[width].pattern)
                              for width in ("full", "long", "medium", "short")] + skeletons)
    zero = ord(ZEROS[locale.default_numbering_system])
    digits = {ord("0") + digit: chr(zero + digit) for digit in range(10)} if zero != ord("0") else {}
    result = []
    for text in patterns:
        pattern = parse_pattern(text)
        fields = re.findall(r"%\((\w+)\)s", str(pattern.format))
        order = "".join("M" if field[0] == "L" else field[0] for field in fields if field[0] in "yMLd")
        if sorted(order) != ["M", "d", "y"] or "yy" in fields:
            continue
        names = _month_names(locale, next(field for field in fields if field[0] in "ML"))
        result.append(Form(locale, pattern, digits, order, names, frozenset(range(1, 13))))
    return result


def _month_names(locale: Any, field: str) -> tuple[str, ...]:
    """The names a month field writes; empty when it writes numbers (M, MM, or names without a letter)."""
    if len(field) < 3:
        return ()
    width = {3: "abbreviated", 4: "wide", 5: "narrow"}[len(field)]
    names = locale.months["format" if field[0] == "M" else "stand-alone"][width]
    result = tuple(str(names[month]) for month in range(1, 13))
    return result if all(any(map(str.isalpha, name)) for name in result) else ()
