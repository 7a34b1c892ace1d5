"""The page of the claims, in Markdown, and its pictures; made from the numbers alone."""

from __future__ import annotations

from seqloom.claims import Finding
from seqloom.claims.drawing import drawing
from seqloom.claims.record import Findings
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
margin, and better with every single seed. A small model on a toy task, trained for a few hundred updates, is what is
judged here, not the paper: where the two differ, that is worth knowing. How much a verdict can hang on the trial, the
laboratory notes of the project tell.

*Quality* is 1 minus the error rate of the answers (edits for each token of the target), 0 at worst. Figures are means
over the seeds, with the least and the largest in brackets. Made with
{made_with}; the seconds beside a command are those of the processor.

| claim | verdict | command |
|---|---|---|
"""

FULL_HINT = """
On your own pairs, which takes longer: `seqloom claims --full pairs.tsv --only long-inputs`.
"""


def page_of(findings: Findings) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures by path below the page's folder."""
    where = f"on pairs of {findings.data}" if findings.data else "in less than a minute on one core, on generated tasks"
    parts = [HEAD.format(where=where, made_with=findings.made_with)]
    pictures: dict[str, bytes] = {}
    for name, finding in findings.found.items():
        line = command(name, findings.data)
        parts.append(f"| [{finding.claim.title}](#{name}) | {finding.verdict.word} | `{line}` |\n")
    if not findings.data:
        parts.append(FULL_HINT)
    for name, finding in findings.found.items():
        picture = ""
        if finding.claim.axis:
            picture = f"{PICTURES}/claims-{name}.svg"
            pictures[picture] = drawing(finding.table, finding.claim.axis)
        parts.append(section(finding, findings.data, picture))
    return "".join(parts), pictures


def command(name: str, data: str) -> str:
    """The line that tries a claim."""
    return f"seqloom claims --only {name}" + (f" --full {data}" if data else "")


def section(finding: Finding, data: str, picture: str = "") -> str:
    """One claim: sources, trial, command, table, picture, checks, verdict."""
    claim, verdict = finding.claim, finding.verdict
    trial = claim.trial if not data else f"On {data}; by itself: {claim.trial}"
    lines = [f'\n<a id="{finding.name}"></a>', f"\n## {claim.title}\n", f"Source: {'; '.join(claim.sources)}.\n",
             f"Trial: {trial}\n", f"```sh\n{command(finding.name, data)}    # {finding.seconds:.0f} s\n```\n",
             *table_lines(finding)]
    if picture:
        lines.append(f"\n![{claim.title}]({picture})")
    lines.append(f"\nVerdict: **{verdict.word}**.\n")
    lines += [f"- {'yes' if check.met else 'no'}: {check.statement} ({check.numbers})" for check in verdict.checks]
    return "\n".join([*lines, ""])


def table_lines(finding: Finding) -> list[str]:
    """The numbers as a table of Markdown."""
    table = finding.table
    head = [f"{table.corner} ↓ {finding.claim.axis} →" if finding.claim.axis else table.corner, *table.columns]
    rows = [[row, *(spread(table.values[row, column]) for column in table.columns)] for row in table.rows]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * len(table.columns)], *rows)]
