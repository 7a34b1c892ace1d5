"""The script of the page of steps, as text: it fills the four panels for the chosen token and the opened formula.

It only shows and multiplies what the page carries. All text enters the page as text, never as markup.
"""

from __future__ import annotations

from seqloom.plots.assets import LEVELS
from seqloom.plots.numbers import READER
from seqloom.plots.steps_style import SIGNED

HELPERS = """
const at = (id) => document.getElementById(id);
function make(kind, options, ...children) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(options || {})) {
    if (name === 'class') element.className = value;
    else if (name.startsWith('data-') || name.startsWith('aria-') || name === 'scope' || name === 'type' ||
             name === 'colspan') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const token = (label) => make('bdi', { dir: 'auto' }, label);
const fixed = (x, places) => {
  if (x === null || x === undefined || Number.isNaN(x)) return '\\u2013';
  const size = Math.abs(x);
  if (size !== 0 && (size < 0.5 * 10 ** -places || size >= 1e6)) return x.toExponential(2).replaceAll('-', '\\u2212');
  return x.toFixed(places).replace('-', '\\u2212');
};
const f = (x) => fixed(x, 4);
const row = (matrix, index) => matrix.data.subarray(index * matrix.shape[1], (index + 1) * matrix.shape[1]);
const dot = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i]; return sum; };
const norm = (a) => Math.sqrt(dot(a, a));
const highest = (a) => a.reduce((best, x, i) => (x > a[best] ? i : best), 0);
const number = (kind, index, value) => make('button', { type: 'button', class: 'n', 'data-kind': kind,
  'data-index': index, title: 'show how it comes about' }, fixed(value, 3));
const width = (bar, share) => { bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`; };
const meter = (share) => {
  const bar = make('i', {});
  width(bar, share);
  return make('td', { class: 'meter', 'aria-hidden': 'true' }, bar);
};
function strip(place, kind, values) {
  const top = values.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-9);
  if (place.children.length !== values.length) {
    place.replaceChildren(...Array.from(values, (x, i) => make('button', { type: 'button', tabIndex: i ? -1 : 0,
      'data-kind': kind, 'data-index': i })));
  }
  [...place.children].forEach((square, i) => {
    const x = values[i];
    square.className = `${x < 0 ? 'm' : 'p'}${Math.round(SIGNED * Math.min(1, Math.abs(x) / top))}`;
    square.title = `dimension ${i + 1}: ${f(x)}`;
    square.textContent = x.toFixed(2).replace('-', '\\u2212');
  });
}
function walk(place) {
  place.addEventListener('keydown', (event) => {
    const all = [...place.children], now = all.indexOf(document.activeElement);
    const goal = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: all.length - 1 }[event.key];
    if (goal === undefined || now < 0 || !all[goal]) return;
    event.preventDefault();
    event.stopPropagation();
    all.forEach((other, i) => { other.tabIndex = i === goal ? 0 : -1; });
    all[goal].focus();
  });
}
const inside = (count, build) => Array.from({ length: count }, (unused, i) => build(i));
"""

FORMULAS = """
const D = read(at('data').textContent), A = D.attention, tokens = D.source_tokens;
let t = 0;
const step = () => D.steps[t], here = () => step().attention;
const keyed = (s) => row(A.keys, s), valued = (s) => row(A.values, s);
function located(s) {
  const filters = A.parameters.filters, last = here().last.data, half = (filters.shape[1] - 1) / 2, U = A.parameters.U;
  const found = inside(filters.shape[0], (n) => {
    let sum = 0;
    row(filters, n).forEach((x, i) => { const p = s + i - half; if (p >= 0 && p < last.length) sum += x * last[p]; });
    return sum;
  });
  return inside(U.shape[0], (d) => dot(row(U, d), found));
}
function hiddenAt(s) {
  const asking = here().asking.data, shift = A.score === 'location' ? located(s) : null;
  let hidden = Array.from(keyed(s), (k, d) => Math.tanh(asking[d] + k + (shift ? shift[d] : 0)));
  for (let n = 0; A.parameters[`deeper.${n}.weight`]; n += 1) {
    const W = A.parameters[`deeper.${n}.weight`], b = A.parameters[`deeper.${n}.bias`].data, before = hidden;
    hidden = inside(W.shape[0], (d) => Math.tanh(dot(row(W, d), before) + b[d]));
  }
  return hidden;
}
const products = (a, b) => Array.from(a, (x, i) => `${f(x)} \\u00b7 ${f(b[i])}`);
const joined = () => [...here().value.data, ...step().state.data];
const best = (i) => step().candidates[i];
const total = () => step().candidates.reduce((sum, one) => sum + (one.logit === null ? 0 :
  Math.exp(one.logit - step().highest_logit)), step().rest);
// A sparse normalization: what is above its threshold, to a power; `text` is how it is written.
const SPARSE = { sparsemax: { factor: 1, power: 1, text: (x) => `max(0, ${x} \\u2212 \\u03c4)` },
  entmax15: { factor: 0.5, power: 2, text: (x) => `max(0, ${x}/2 \\u2212 \\u03c4)\\u00b2` } };
const above = (kind, x, threshold) => Math.max(0, kind.factor * x - threshold);
const thresholded = (kind, x, threshold) => `${kind.power > 1 ? '(' : ''}max(0, ` +
  `${kind.factor < 1 ? `${f(x)} / 2` : f(x)} \\u2212 ${f(threshold)})${kind.power > 1 ? ')\\u00b2' : ''}`;
// A local window: which positions are in it, and what their weights are multiplied by.
const away = (s) => s - here().centre;
const inWindow = (s) => A.local_window === null || Math.abs(away(s)) <= A.local_window;
const topScore = () => here().scores.data.reduce((top, x, s) => (inWindow(s) ? Math.max(top, x) : top), -Infinity);
const shareOf = (s) => {
  if (!inWindow(s)) return 0;
  const kind = SPARSE[A.normalization], x = here().scores.data[s];
  return kind ? above(kind, x, here().threshold) : Math.exp(x - topScore());
};
const FORMULAS = {
  score(s) {
    const covered = A.coverage_weight !== null ? ` + ${f(A.coverage_weight)} \\u00b7 coverage ` +
      f(here().coverage.data[s]) : '';
    const a = A.bilinear ? here().asking.data : A.parameters.v.data, b = A.bilinear ? keyed(s) : hiddenAt(s);
    const geometry = A.bilinear ? `|q| \\u00b7 |k| \\u00b7 cosine = ${f(norm(a))} \\u00b7 ${f(norm(b))} \\u00b7 ` +
      `${f(here().cosines.data[s])} = ${f(dot(a, b))}` : 'v \\u00b7 tanh(\\u2026), term by term';
    return { general: `score = ${A.formula}${A.coverage_weight !== null ? ' + c \\u00b7 coverage' : ''}`,
      filled: `${geometry}${covered} \\u2192 ${f(here().scores.data[s])}`, terms: products(a, b),
      result: here().scores.data[s] };
  },
  cosine(s) {
    const a = here().asking.data, k = keyed(s), names = A.bilinear ? ['q', 'k'] : ['a', 'k'];
    return { general: `cosine = (${names[0]} \\u00b7 ${names[1]}) / (|${names[0]}| |${names[1]}|)`,
      filled: `${f(dot(a, k))} / (${f(norm(a))} \\u00b7 ${f(norm(k))})`, terms: products(a, k),
      result: here().cosines.data[s] };
  },
  norm(s) {
    return { general: '|k| = \\u221a(k\\u2081\\u00b2 + k\\u2082\\u00b2 + \\u2026)',
      filled: `\\u221a${f(dot(keyed(s), keyed(s)))}`, terms: Array.from(keyed(s), (x) => `(${f(x)})\\u00b2`),
      result: here().norms.data[s] };
  },
  share(s) {
    const x = here().scores.data[s], kind = SPARSE[A.normalization];
    if (!inWindow(s)) return { general: `0 farther than ${A.local_window} positions from the centre`,
      filled: `|${s} \\u2212 ${f(here().centre)}| > ${A.local_window}`, terms: [], result: 0 };
    if (kind) return { general: kind.factor < 1 ? 'max(0, score/2 \\u2212 \\u03c4)' : 'max(0, score \\u2212 \\u03c4)',
      filled: thresholded({ ...kind, power: 1 }, x, here().threshold), terms: [], result: shareOf(s) };
    return { general: 'exp(score \\u2212 highest score)', filled: `exp(${f(x)} \\u2212 ${f(topScore())})`, terms: [],
      result: shareOf(s) };
  },
  weight(s) {
    const kind = SPARSE[A.normalization], shares = inside(tokens.length, shareOf);
    const sum = shares.reduce((a, b) => a + b, 0), local = A.local_window !== null;
    const times = local ? ` \\u00b7 exp(\\u22122 (${f(away(s))} / ${A.local_window})\\u00b2)` : '';
    const far = local ? ' \\u00b7 exp(\\u22122 (s \\u2212 centre)\\u00b2 / D\\u00b2)' : '';
    if (kind) return { general: `weight = ${kind.text('score')}${far}, with \\u03c4 such that all ` +
      `${kind.text('score')} sum to 1`, filled: `${f(shares[s])}${kind.power > 1 ? '\\u00b2' : ''}${times}`,
    terms: shares.map((x) => f(x ** kind.power)), result: here().weights.data[s] };
    return { general: `weight = exp(score \\u2212 highest) / \\u03a3 exp(score \\u2212 highest)${far}`,
      filled: `${f(shares[s])} / ${f(sum)}${times}`, terms: shares.map(f), result: here().weights.data[s] };
  },
  value(d) {
    const weights = here().weights.data;
    return { general: `attention value, dimension ${d + 1} = \\u03a3 weight \\u00b7 value[${d + 1}]`,
      filled: `sum over ${tokens.length} source positions`,
      terms: Array.from(weights, (w, s) => `${f(w)} \\u00b7 ${f(valued(s)[d])}`), result: here().value.data[d] };
  },
  reach(s) {
    return { general: 'size of the contribution = weight \\u00b7 |value|',
      filled: `${f(here().weights.data[s])} \\u00b7 ${f(norm(valued(s)))}`, terms: [],
      result: here().weights.data[s] * norm(valued(s)) };
  },
  state(d) {
    return { general: `dimension ${d + 1} of the decoder's state`, filled: 'made by the cell from the last state and ' +
      `the token before (${step().history}); \\u201cseqloom explain --gates\\u201d shows its gates`, terms: [],
    result: step().state.data[d] };
  },
  outputs(d) {
    const given = step().outputs.data[d];
    if (!A || !A.combination) return { general: `dimension ${d + 1} of what the output layer reads`,
      filled: A ? 'attention value and decoder state side by side' : 'the state as it is', terms: [], result: given };
    const weights = row(A.combination, d), parts = joined();
    return { general: 'output = tanh(W [attention value; state])', filled: `tanh(${f(dot(weights, parts))})`,
      terms: products(weights, parts), result: given };
  },
  logit(i) {
    const one = best(i), weights = D.output_layer.weights[one.id].data, bias = D.output_layer.biases[one.id];
    return { general: 'logit = w \\u00b7 output + b', filled: `${f(dot(weights, step().outputs.data))} + ${f(bias)}`,
      terms: products(weights, step().outputs.data), result: one.logit };
  },
  generated(i) {
    const one = best(i);
    if (one.logit === null) return { general: 'no symbol of the vocabulary', filled: 'it can only be copied', terms: [],
      result: 0 };
    const kind = SPARSE[D.output_layer.normalization];
    if (kind) return { general: `${kind.text('logit')}, with \\u03c4 such that all symbols sum to 1; the others ` +
      `together: ${f(step().rest)}`, filled: thresholded(kind, one.logit, step().threshold), terms: [],
    result: one.generated };
    return { general: 'exp(logit \\u2212 highest) / \\u03a3 over all symbols; the others together: ' + f(step().rest),
      filled: `exp(${f(one.logit)} \\u2212 ${f(step().highest_logit)}) / ${f(total())}`,
      terms: [...step().candidates.filter((other) => other.logit !== null).map((other) =>
        f(Math.exp(other.logit - step().highest_logit))), `${f(step().rest)} (all others)`], result: one.generated };
  },
  copied(i) {
    const one = best(i), weights = here().weights.data;
    const places = D.copy_ids.map((id, s) => (id === one.id ? s : -1)).filter((s) => s >= 0);
    const whole = D.copy_ids.reduce((sum, id, s) => sum + (id >= 0 ? weights[s] : 0), 0);
    return { general: '\\u03a3 weights of the positions with this symbol / \\u03a3 weights of all that can be copied',
      filled: `${f(places.reduce((sum, s) => sum + weights[s], 0))} / ${f(whole)}`,
      terms: places.map((s) => f(weights[s])), result: one.copied };
  },
  probability(i) {
    const one = best(i), gate = step().copy_gate;
    if (gate === null) return { ...FORMULAS.generated(i), result: one.probability };
    return { general: 'g \\u00b7 generated + (1 \\u2212 g) \\u00b7 copied',
      filled: `${f(gate)} \\u00b7 ${f(one.generated)} + ${f(1 - gate)} \\u00b7 ${f(one.copied)}`, terms: [],
      result: one.probability };
  },
  gate() {
    return { general: 'g = \\u03c3(W [attention value; state; embedded token] + b)', filled: 'probability of writing ' +
      'a symbol of the vocabulary, not copying one of the source', terms: [], result: step().copy_gate };
  },
};
"""

VIEW = """
const built = {};
function lasting(id, heads, count, build) {
  at(id).classList.toggle('long', count > 100);
  if (!built[id]) built[id] = table(id, heads, count, build).map((line) => ({ line, mark: line.lastChild,
    numbers: [...line.querySelectorAll('button')], bar: line.querySelector('i') }));
  return built[id];
}
function table(id, heads, count, build) {
  const body = make('tbody', {}, ...inside(count, (i) => make('tr', {}, ...build(i))));
  at(id).replaceChildren(make('thead', {}, make('tr', {}, ...heads.map((head) => make('th', { scope: 'col' }, head)))),
    body);
  return [...body.children];
}
function showAttention() {
  const now = here(), S = tokens.length, weights = now.weights.data, scores = now.scores.data;
  const cosines = now.cosines.data, most = highest(weights), nearest = highest(cosines);
  const low = scores.reduce((a, b) => Math.min(a, b), Infinity), high = scores[highest(scores)];
  const mark = (sign, words) => make('span', { class: 'mark', title: words, role: 'img', 'aria-label': words },
    sign);
  const marks = (s) => [s === most ? mark('\\u2605', 'highest weight') : null,
    s === nearest ? mark('\\u25c6', 'highest cosine') : null];
  const name = (s) => make('th', { scope: 'row' }, token(tokens[s]));
  const cell = (...parts) => make('td', {}, ...parts);
  lasting('scores', ['source', 'score', '', 'cosine', '|k|', ''], S, (s) => [name(s), cell(number('score', s, 0)),
    meter(0), cell(number('cosine', s, 0)), cell(number('norm', s, 0)), cell()]).forEach((one, s) => {
    [scores[s], cosines[s], now.norms.data[s]].forEach((x, i) => { one.numbers[i].textContent = fixed(x, 3); });
    width(one.bar, (scores[s] - low) / (high - low || 1));
    one.mark.replaceChildren(...marks(s).filter((sign) => sign));
    one.line.classList.toggle('most', s === most);
  });
  at('agree').textContent = most === nearest ?
    '\\u2605 highest weight and \\u25c6 highest cosine are on the same token.' : '';
  at('disagree').hidden = most === nearest;
  at('disagree').replaceChildren('\\u2605 The highest weight is on ', token(tokens[most]),
    ` (cosine ${f(cosines[most])}, norm ${f(now.norms.data[most])}), but \\u25c6 the highest cosine is on `,
    token(tokens[nearest]),
  ` (cosine ${f(cosines[nearest])}, norm ${f(now.norms.data[nearest])})` + (A.bilinear ?
    ': a long key can win over a similar one.' : ': the score is learned, not an angle.'));
  const kind = SPARSE[A.normalization], shown = kind ? (kind.factor < 1 ? 'max(0, score/2 \\u2212 \\u03c4)' :
    'max(0, score \\u2212 \\u03c4)') : 'exp(score \\u2212 highest)';
  lasting('softmax', ['source', shown, 'weight', ''], S, (s) => [name(s),
    cell(number('share', s, 0)), cell(number('weight', s, 0)), meter(0)]).forEach((one, s) => {
    one.numbers[0].textContent = fixed(shareOf(s), 3);
    one.numbers[1].textContent = fixed(weights[s], 3);
    width(one.bar, weights[s]);
    one.line.classList.toggle('most', s === most);
  });
  const order = inside(S, (s) => s).sort((a, b) => weights[b] - weights[a]).slice(0, 6);
  table('sum', ['source', 'weight', 'weight \\u00b7 |value|', ''], order.length, (i) => [name(order[i]),
    cell(number('weight', order[i], weights[order[i]])),
    cell(number('reach', order[i], weights[order[i]] * norm(valued(order[i])))), meter(weights[order[i]])]);
  at('sumnote').textContent = S > order.length ? `The ${order.length} largest of ${S}; the strip is the sum of all.` :
    'The strip is their sum.';
  strip(at('value'), 'value', now.value.data);
}
function showOutput() {
  const now = step(), copying = now.copy_gate !== null;
  strip(at('state'), 'state', now.state.data);
  strip(at('outputs'), 'outputs', now.outputs.data);
  at('gate').replaceChildren(...(copying ? ['Probability of writing, not copying: ', number('gate', 0, now.copy_gate)] :
    []));
  const heads = ['next token', 'logit', ...(copying ? ['written', 'copied'] : []), 'probability', ''];
  table('next', heads, now.candidates.length, (i) => {
    const one = now.candidates[i];
    const cell = (kind, value) => make('td', {}, value === null ? '\\u2013' : number(kind, i, value));
    return [make('th', { scope: 'row' }, token(one.token), one.id === now.id ?
      make('span', { class: 'mark' }, ' \\u2190 written') : null), cell('logit', one.logit),
    ...(copying ? [cell('generated', one.generated), cell('copied', one.copied)] : []),
    cell('probability', one.probability), meter(one.probability)];
  });
}
function show(goal) {
  if (!D.steps.length) return;
  t = Math.max(0, Math.min(D.steps.length - 1, goal));
  const now = step();
  at('slider').value = t;
  at('slider').setAttribute('aria-valuetext', `token ${t + 1} of ${D.steps.length}: ${now.token}`);
  at('story').replaceChildren(`Token ${t + 1} of ${D.steps.length}: after `, token(now.history), ' the model wrote ',
    token(now.token), ` with probability ${fixed(now.probability, 3)}`);
  document.querySelectorAll('[data-step]').forEach((chip, i) => {
    chip.classList.toggle('on', i === t);
    chip.setAttribute('aria-pressed', i === t);
  });
  if (A) showAttention();
  showOutput();
  if (!at('formula').hidden) close();
}
function close() { at('formula').hidden = true; document.querySelectorAll('.n.on,.strip .on').forEach((other) =>
  other.classList.remove('on')); }
let opener = null;
function open(button) {
  close();
  opener = button;
  button.classList.add('on');
  const made = FORMULAS[button.dataset.kind](Number(button.dataset.index));
  at('formula').hidden = false;
  at('general').textContent = made.general;
  at('filled').textContent = `= ${made.filled} = ${f(made.result)}`;
  at('terms').replaceChildren(...made.terms.map((term, i) => make('li', {}, (i ? '+ ' : '') + term)));
  at('termcount').textContent = made.terms.length ? `${made.terms.length} terms:` : '';
}
document.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-kind]'), chip = event.target.closest('[data-step]');
  if (button) open(button);
  if (chip) show(Number(chip.dataset.step));
});
at('slider').addEventListener('input', () => show(Number(at('slider').value)));
at('before').addEventListener('click', () => show(t - 1));
at('after').addEventListener('click', () => show(t + 1));
at('close').addEventListener('click', () => { close(); if (opener && opener.isConnected) opener.focus(); });
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !at('formula').hidden) { close(); if (opener && opener.isConnected) opener.focus(); }
  if (event.target.closest('input,.strip,.scroll') || event.altKey || event.ctrlKey || event.metaKey) return;
  const goal = { ArrowLeft: t - 1, ArrowRight: t + 1, Home: 0, End: D.steps.length - 1 }[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  show(goal);
});
document.querySelectorAll('.strip').forEach(walk);
show(Number((location.hash.match(/^#step=([0-9]+)$/) || [0, 1])[1]) - 1);
"""


def steps_script() -> str:
    """The whole script."""
    whole = "'use strict';\n" + READER + HELPERS + FORMULAS + VIEW
    return whole.replace("SIGNED", str(SIGNED)).replace("LEVELS", str(LEVELS))
