"""The plain loops: what a good tutorial writes in PyTorch, without any toolkit.

    tutorial   the output layer at every step, batches drawn at random
    bucketed   one output layer over all steps, batches of sentences of like length

Luong et al. 2015 with general attention (eq. 8), tanh combination (eq. 5) and, as an option, input feeding (§3.3).
It is a rival: it imports torch and nothing of seqloom.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.windows import task_of, windows_of

if TYPE_CHECKING:
    from torch import Tensor

PADDING, UNKNOWN, START, END = range(4)
Numbers = list[list[int]]


def read(task: dict[str, Any], part: str) -> tuple[Numbers, Numbers, int, int]:
    """Ids of both sides of a part of the data, and how many ids there are."""
    folder = Path(task["data"])
    sides: list[Any] = []
    sizes = []
    for side in ("source", "target"):
        symbols = (folder / f"{side}.symbols").read_text(encoding="utf-8").splitlines()
        ids = {symbol: number for number, symbol in enumerate(symbols, 4)}
        lines = (folder / f"{part}.{side}").read_text(encoding="utf-8").splitlines()
        sides.append([[ids.get(word, UNKNOWN) for word in line.split()] for line in lines])
        sizes.append(len(symbols) + 4)
    sources = [[*words, END] for words in sides[0]]
    return sources, [[START, *words, END] for words in sides[1]], sizes[0], sizes[1]


def build(task: dict[str, Any], source_size: int, target_size: int) -> Any:
    """The model as a module; torch is imported here, so that what only asks for names does without."""
    import torch
    from torch import nn
    from torch.nn import functional
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    embedding, encoder, hidden, feeding = task["embedding"], task["encoder"], task["decoder"], task["feeding"]

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source = nn.Embedding(source_size, embedding, padding_idx=PADDING)
            self.encoder = nn.LSTM(embedding, encoder, bidirectional=True, batch_first=True)
            self.target = nn.Embedding(target_size, embedding, padding_idx=PADDING)
            self.cell = nn.LSTMCell(embedding + (hidden if feeding else 0), hidden)
            self.keys = nn.Linear(2 * encoder, hidden, bias=False)
            self.combine = nn.Linear(2 * encoder + hidden, hidden, bias=False)
            self.output = nn.Linear(hidden, target_size)

        def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
            packed = pack_padded_sequence(self.source(source), lengths, batch_first=True, enforce_sorted=False)
            packed, (last, cell) = self.encoder(packed)
            values, _ = pad_packed_sequence(packed, batch_first=True)
            h = torch.cat([last[0], last[1]], 1)  # the decoder's state is as large as both directions together
            c = torch.cat([cell[0], cell[1]], 1)
            return values, self.keys(values), source != PADDING, h, c, torch.zeros_like(h)

        def step(self, token: Tensor, values: Tensor, keys: Tensor, mask: Tensor, h: Tensor, c: Tensor,
                 feed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            embedded = self.target(token)
            h, c = self.cell(torch.cat([embedded, feed], 1) if feeding else embedded, (h, c))
            scores = torch.bmm(keys, h.unsqueeze(2)).squeeze(2).masked_fill(~mask, float("-inf"))
            context = torch.bmm(functional.softmax(scores, 1).unsqueeze(1), values).squeeze(1)
            return h, c, torch.tanh(self.combine(torch.cat([context, h], 1)))

        def forward(self, source: Tensor, lengths: Tensor, target: Tensor, per_step: bool) -> Tensor:
            values, keys, mask, h, c, feed = self.encode(source, lengths)
            outputs = []
            for t in range(target.shape[1] - 1):
                h, c, feed = self.step(target[:, t], values, keys, mask, h, c, feed)
                outputs.append(self.output(feed) if per_step else feed)
            stacked = torch.stack(outputs, 1)
            return stacked if per_step else self.output(stacked)

    return Plain()


# --- training --------------------------------------------------------------------------------------------------------


def batches(sources: Numbers, targets: Numbers, size: int, bucketed: bool, draw: random.Random) -> Numbers:
    """The batches of an epoch, as numbers of sentences."""
    order = list(range(len(sources)))
    draw.shuffle(order)
    if bucketed:
        window = 100 * size
        parts = [sorted(order[begin:begin + window], key=lambda one: (len(targets[one]), len(sources[one])))
                 for begin in range(0, len(order), window)]
        order = [one for part in parts for one in part]
    cut = [order[begin:begin + size] for begin in range(0, len(order), size)]
    if bucketed:
        draw.shuffle(cut)
    return cut


def train(task: dict[str, Any]) -> None:
    """Train until nobody asks for another window."""
    windows = windows_of(task)
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(1)
    sources, targets, source_size, target_size = read(task, "train")
    model = build(task, source_size, target_size)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=PADDING)
    windows.facts["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    per_step, draw, tokens = task["style"] == "tutorial", random.Random(1), 0
    model.train()
    while True:
        for batch in batches(sources, targets, task["batch"], not per_step, draw):
            source = pad_sequence([torch.tensor(sources[one]) for one in batch], batch_first=True)
            target = pad_sequence([torch.tensor(targets[one]) for one in batch], batch_first=True)
            lengths = torch.tensor([len(sources[one]) for one in batch])
            optimizer.zero_grad()
            logits = model(source, lengths, target, per_step)
            loss = criterion(logits.flatten(0, 1), target[:, 1:].flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            loss.item()
            tokens += sum(len(targets[one]) - 1 for one in batch)
            windows.done(tokens)


# --- prediction ------------------------------------------------------------------------------------------------------


def predict(task: dict[str, Any]) -> None:
    """Answer the test sentences, each as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    started = time.perf_counter()
    import torch
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(1)
    sources, targets, source_size, target_size = read(task, "test")
    model = build(task, source_size, target_size).eval()
    windows.facts["load"] = time.perf_counter() - started
    with torch.no_grad():
        model.output.bias[END] = -1e4
    count = min(len(sources), task["sentences"])
    order = sorted(range(count), key=lambda one: -len(sources[one]))
    strategy = beam if task["beam"] > 1 else greedy

    def work() -> float:
        found = 0
        for begin in range(0, count, task["rows"]):
            group = order[begin:begin + task["rows"]]
            source = pad_sequence([torch.tensor(sources[one]) for one in group], batch_first=True)
            lengths = torch.tensor([len(sources[one]) for one in group])
            limits = [len(targets[one]) - 1 for one in group]
            found += len(strategy(model, source, lengths, limits, task["beam"]))
        return float(found)

    windows.facts["words"] = sum(len(targets[one]) - 1 for one in order)
    with torch.inference_mode():
        windows.serve(work, least=task["least_seconds"])


def greedy(model: Any, source: Tensor, lengths: Tensor, limits: list[int], width: int) -> Numbers:
    """The best next token, until every sentence has reached its limit or ended."""
    values, keys, mask, h, c, feed = model.encode(source, lengths)
    token = source.new_full((len(limits),), START)
    going = [True] * len(limits)
    answers: Numbers = [[] for _ in limits]
    while any(going):
        h, c, feed = model.step(token, values, keys, mask, h, c, feed)
        token = model.output(feed).argmax(1)
        for row, number in enumerate(token.tolist()):
            if going[row]:
                answers[row].append(number)
                going[row] = number != END and len(answers[row]) < limits[row]
    return answers


def beam(model: Any, source: Tensor, lengths: Tensor, limits: list[int], width: int) -> Numbers:
    """Batched beam search with the memory repeated for every hypothesis; answers are cut at their limits."""
    import torch

    B, longest = len(limits), max(limits)
    encoded = [part.repeat_interleave(width, 0) for part in model.encode(source, lengths)]
    values, keys, mask, h, c, feed = encoded
    totals = torch.full((B, width), float("-inf"))
    totals[:, 0] = 0.0
    token = source.new_full((B * width,), START)
    history = source.new_zeros((B, width, 0))
    ended = torch.zeros((B, width), dtype=torch.bool)
    first = torch.arange(B).unsqueeze(1) * width
    for _ in range(longest):
        h, c, feed = model.step(token, values, keys, mask, h, c, feed)
        scores = model.output(feed).log_softmax(1).view(B, width, -1)
        if ended.any():
            scores = scores.masked_fill(ended.unsqueeze(2), float("-inf"))
            scores[..., PADDING].masked_fill_(ended, 0.0)
        totals, best = (totals.unsqueeze(2) + scores).flatten(1).topk(width, 1)
        parents, words = best // scores.shape[2], best % scores.shape[2]
        rows = (first + parents).flatten()
        h, c, feed, token = h[rows], c[rows], feed[rows], words.flatten()
        history = torch.cat([history.gather(1, parents.unsqueeze(2).expand_as(history)), words.unsqueeze(2)], 2)
        ended = ended.gather(1, parents) | (words == END)
        if ended.all():
            break
    best_rows = history[:, 0].tolist()
    return [row[:limit] for row, limit in zip(best_rows, limits, strict=True)]


KINDS = {"training": train, "prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
