"""The page of the claims, in Markdown, and its pictures; made from the numbers alone."""

from __future__ import annotations

from seqloom.claims import CLAIMS, Finding
from seqloom.claims.drawing import drawing
from seqloom.claims.lab import FULL
from seqloom.claims.record import Findings, Record
from seqloom.claims.tables import spread

PICTURES = "pictures"

HEAD = """\
<!-- Generated: seqloom claims --out docs/claims.md. Numbers: claims.json; a test fails when they disagree. -->
# Claims of the literature, tried

What textbooks and papers say of recurrent encoder-decoders, each tried by one command
{where}.
Each is two functions in [`src/seqloom/claims`](../src/seqloom/claims), which train and measure through the public
interface, and judge: examples of both.

The rule: each claim has checks, sentences with a margin in them. All of them met: the claim **holds**. None: it **does
not hold**. Some: it **depends**. Where a check compares two ways, one must be better on average over the seeds by the
margin, and better with every single seed. A small model, trained for a few hundred updates, is what is judged here, not
the paper: where the two differ, that is worth knowing. How much a verdict can hang on the trial, the laboratory notes
of the project tell. Sources say where a claim stands; figures of the papers are not repeated.

*Quality* is 1 minus the error rate of the answers (edits for each token of the target), 0 at worst. Figures are means
over the seeds, with the least and the largest in brackets. Made with
{made_with}; the seconds beside a command are those of the processor.
"""

OWN = f"with states {FULL.hidden:g} × as large, {FULL.updates:g} × the updates, and one seed"
FULL_HINT = f"""
On your own pairs, {OWN}: `seqloom claims --full pairs.tsv`,
with `--only NAME` for one claim. On one core some thousands of words and their sounds take half an hour, tens of
thousands of sentences an evening.
"""
GENERATED = "generated tasks"


def page_of(record: Record) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures by path below the page's folder."""
    sheets = [sheet for sheet in record.sheets if sheet.found]
    parts = [HEAD.format(where=_where(sheets), made_with="; ".join(dict.fromkeys(one.made_with for one in sheets))),
             *_summary(sheets)]
    if any(not sheet.data for sheet in sheets):
        parts.append(FULL_HINT)
    pictures: dict[str, bytes] = {}
    for name in CLAIMS:
        found = [(sheet, sheet.found[name]) for sheet in sheets if name in sheet.found]
        for number, (sheet, finding) in enumerate(found):
            picture = ""
            if finding.claim.axis and not number:
                picture = f"{PICTURES}/claims-{name}.svg"
                pictures[picture] = drawing(finding.table, finding.claim.axis)
            parts.append(further(finding, sheet.data) if number else section(finding, sheet.data, picture))
    return "".join(parts), pictures


def _where(sheets: list[Findings]) -> str:
    told = [f"on the {sheet.pairs:,} pairs of {sheet.data} ({sheet.seconds / 60:.0f} minutes)" for sheet in sheets
            if sheet.data]
    if any(not sheet.data for sheet in sheets):
        told.insert(0, "in less than a minute on one core, on generated tasks")
    return ",\nand ".join(told)


def _summary(sheets: list[Findings]) -> list[str]:
    """A table with all verdicts and the commands of the first data."""
    several = len(sheets) > 1
    heads = [f"on {sheet.data or GENERATED}" if several else "verdict" for sheet in sheets]
    lines = [f"\n| claim | {' | '.join(heads)} | command |\n", f"|---|{'---|' * len(heads)}---|\n"]
    for name, claim in CLAIMS.items():
        found = [sheet.found.get(name) for sheet in sheets]
        first = next((sheet for sheet, finding in zip(sheets, found, strict=True) if finding is not None), None)
        if first is not None:
            words = " | ".join("–" if finding is None else finding.verdict.word for finding in found)
            lines.append(f"| [{claim.title}](#{name}) | {words} | `{command(name, first.data)}` |\n")
    return lines


def command(name: str, data: str) -> str:
    """The line that tries a claim."""
    return f"seqloom claims --only {name}" + (f" --full {data}" if data else "")


def section(finding: Finding, data: str, picture: str = "") -> str:
    """One claim: sources, trial, command, table, picture, checks, verdict."""
    claim = finding.claim
    trial = claim.trial if not data else f"{data} in place of the task, {OWN}. The task: {claim.trial}"
    return "\n".join([f'\n<a id="{finding.name}"></a>', f"\n## {claim.title}\n",
                      f"Source: {'; '.join(claim.sources)}.\n", f"Trial: {trial}\n", *_outcome(finding, data, picture)])


def further(finding: Finding, data: str) -> str:
    """The same claim on further data, beneath its section."""
    return "\n".join([f"\nThe same on {data}, {OWN}:\n", *_outcome(finding, data)])


def _outcome(finding: Finding, data: str, picture: str = "") -> list[str]:
    verdict = finding.verdict
    lines = [f"```sh\n{command(finding.name, data)}    # {finding.seconds:.0f} s\n```\n", *table_lines(finding)]
    if picture:
        lines.append(f"\n![{finding.claim.title}]({picture})")
    lines.append(f"\nVerdict{f' on {data}' if data else ''}: **{verdict.word}**.\n")
    lines += [f"- {'yes' if check.met else 'no'}: {check.statement} ({check.numbers})" for check in verdict.checks]
    return [*lines, ""]


def table_lines(finding: Finding) -> list[str]:
    """The numbers as a table of Markdown."""
    table = finding.table
    head = [f"{table.corner} ↓ {finding.claim.axis} →" if finding.claim.axis else table.corner, *table.columns]
    rows = [[row, *(spread(table.values[row, column]) for column in table.columns)] for row in table.rows]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * len(table.columns)], *rows)]
