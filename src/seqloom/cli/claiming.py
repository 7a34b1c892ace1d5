"""What `seqloom claims` does once its options are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqloom.claims import CLAIMS, chosen_claims, try_claim
from seqloom.claims.lab import FULL, MINUTE, read_pairs
from seqloom.claims.page import page_of, section
from seqloom.claims.record import Record, read_record, to_json
from seqloom.cli.options import silence
from seqloom.cli.streams import say
from seqloom.errors import UsageError
from seqloom.plots.output import write_whole
from seqloom.progress import duration, reporter_for


def run_claims(only: Sequence[str], full: str | None, out: str | None, *, json_output: bool, listed: bool,
               quiet: bool) -> None:
    """Try claims one after the other; each is shown, or written into the page, as soon as it is known."""
    names = chosen_claims(only, real=full is not None)
    if listed:
        say("\n".join(f"{name:<{max(map(len, CLAIMS))}}  {CLAIMS[name].title}" for name in names))
        return
    real = None if full is None else read_pairs(full)
    data = "" if full is None else Path(full).name
    page = None if out is None else _page_path(out)
    record = Record() if page is None else read_record(page.with_suffix(".json"), data, names)
    findings = record.sheet(data, len(real or []))
    reporter = reporter_for(quiet=silence(quiet))
    for name in names:
        reporter.say(f"{name}: {CLAIMS[name].title}")
        finding = try_claim(name, MINUTE if real is None else FULL, real=real, reporter=reporter)
        reporter.finish()
        reporter.say(f"{name}: {finding.verdict.word}, {duration(finding.seconds)}")
        findings.put(finding)
        if page is not None:
            write_page(record, page)
        elif not json_output:
            say(section(finding, data))
    if json_output:
        say(to_json(record).rstrip("\n"))
    if page is not None and not json_output:
        say(str(out))


def write_page(record: Record, page: Path) -> None:
    """The page, its numbers and its pictures. Raises UsageError when they cannot be written."""
    text, pictures = page_of(record)
    for name, content in pictures.items():
        place = page.parent / name
        place.parent.mkdir(exist_ok=True)
        write_whole(place, content)
    write_whole(page.with_suffix(".json"), to_json(record).encode())
    write_whole(page, text.encode())


def _page_path(out: str) -> Path:
    """Raises UsageError for another suffix or a missing folder, before anything is trained."""
    page = Path(out)
    if page.suffix != ".md":
        raise UsageError(f"--out {out}: expected a name that ends in .md", fix="for example --out claims.md")
    if not page.parent.is_dir():
        raise UsageError(f"cannot write {out}: there is no folder {page.parent}", fix=f"mkdir -p {page.parent}")
    return page
