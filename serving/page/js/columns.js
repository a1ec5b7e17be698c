// A small chart for each column that drift compares: what it was on the test split, what it is now.

import { h, s } from "./dom.js";
import { counted, number, percent, titled } from "./format.js";
import { facts } from "./tab_elements.js";

const WIDTH = 300;
const ROW = 26;
const NAME = 66;
// Where the bar of a distance ends, in thresholds: the same for all columns, so that bars can be compared.
const LONGEST = 6;

const AND = new Intl.ListFormat("en-GB");

/** Name of a column for people; `descriptions` as /drift has them. */
export const columnName = (name, descriptions) => descriptions[name]?.label ?? titled(name);

/** Names of columns in a sentence; the directions of the network's features become one entry. */
export function columnList(names, descriptions) {
  const entries = new Map();
  for (const name of names) {
    const label = columnName(name, descriptions);
    const [, what = label, direction] = label.match(/^(.+) \(direction (\d+)\)$/) ?? [];
    entries.set(what, [...(entries.get(what) ?? []), ...(direction ? [direction] : [])]);
  }
  const numbered = (what, numbers) =>
    numbers.length ? `${what} (direction${numbers.length > 1 ? "s" : ""} ${AND.format(numbers)})` : what;
  return [...entries].map(([what, numbers]) => numbered(what.toLowerCase(), numbers)).join(", ");
}

/** How many times its threshold a column's distance is. */
export const timesThreshold = ({ score, threshold }) => score / Math.max(threshold, 1e-9);

/** What the marks of the cards mean. */
export function columnLegend() {
  return h(
    "p",
    { class: "legend" },
    h("span", {}, h("i"), "on the test split"),
    h("span", {}, h("i", { class: "after" }), "now"),
    h("span", {}, h("i", { class: "distance" }), "distance between the two, in thresholds"),
    h("span", {}, h("i", { class: "limit" }), "threshold: what chance explains"),
    h("span", {}, h("i", { class: "distance beyond" }), `more than ${LONGEST} thresholds`),
  );
}

/** What each column means, in a fold. */
export function columnMeanings(names, descriptions) {
  const known = names.filter((name) => descriptions[name]);
  if (!known.length) return null;
  return h(
    "details",
    { class: "fold" },
    h("summary", {}, "What the columns mean"),
    h(
      "div",
      { class: "card panel" },
      facts(known.map((name) => [descriptions[name].label, descriptions[name].explanation])),
    ),
  );
}

/** One column's card. */
export function columnCard(name, column, descriptions) {
  const isNumber = "mean" in column.reference;
  return h(
    "li",
    { class: `card column${isNumber ? "" : " tall"}${column.drifted ? " moved" : ""}` },
    h(
      "header",
      {},
      h("h3", { title: descriptions[name]?.explanation }, columnName(name, descriptions)),
      h("span", { class: `tag-flat${column.drifted ? " bad" : ""}` }, column.drifted ? "moved" : "as before"),
    ),
    isNumber ? ranges(column) : shares(column),
    gauge(column),
  );
}

/** The distance as a bar; its scale, and so the place of the threshold, is that of every column. */
function gauge(column) {
  const { score, threshold, method, dropped } = column;
  const times = timesThreshold(column);
  return h(
    "div",
    {},
    h(
      "div",
      {
        class: `gauge${times > LONGEST ? " beyond" : ""}`,
        "aria-hidden": "true",
        style: { "--score": Math.min(times / LONGEST, 1), "--limit": 1 / LONGEST },
      },
      h("i"),
      h("b"),
    ),
    h(
      "p",
      { class: "fine", title: method },
      `distance ${number(score)}, chance explains up to ${number(threshold)}`,
      column.drifted ? `: ${number(times, 2)} times the threshold` : null,
    ),
    dropped ? h("p", { class: "fine" }, `${counted(dropped, "value")} left out: not a number`) : null,
  );
}

/** Mean and deviation on one scale, which ends where the column's possible values end. */
function ranges({ reference, window, possible }) {
  const within = (value) => Math.min(Math.max(value, possible.min ?? -Infinity), possible.max ?? Infinity);
  const ends = [reference, window].flatMap(({ mean, deviation }) =>
    [mean - deviation, mean + deviation].map(within),
  );
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const x = (value) => NAME + ((value - low) / (high - low || 1)) * (WIDTH - NAME - 8);
  const row = (words, { mean, deviation }, kind, index) => {
    const y = 14 + index * ROW;
    return [
      s("text", { x: 0, y: y + 4 }, words),
      s("line", {
        class: kind,
        x1: x(within(mean - deviation)),
        x2: x(within(mean + deviation)),
        y1: y,
        y2: y,
        "stroke-width": 3,
        "stroke-linecap": "round",
        opacity: 0.5,
      }),
      s("circle", { class: kind, cx: x(mean), cy: y, r: 5 }),
    ];
  };
  const spread = ({ mean, deviation }) => `${number(mean)} ± ${number(deviation)}`;
  const said = `test split ${spread(reference)}, now ${spread(window)}`;
  return chart(2 * ROW + 18, said, [
    ...row("test split", reference, "before", 0),
    ...row("now", window, "after", 1),
    s("text", { class: "end", x: x(low), y: 2 * ROW + 14 }, number(low)),
    s("text", { class: "end", x: x(high), y: 2 * ROW + 14, "text-anchor": "end" }, number(high)),
  ]);
}

/** Shares of classes, two bars each. */
function shares({ reference, window }) {
  const names = Object.keys(reference);
  const most = Math.max(...names.flatMap((name) => [reference[name], window[name] ?? 0]), 1e-9);
  const length = (share) => (share / most) * (WIDTH - NAME - 44);
  const rows = names.flatMap((name, index) => {
    const y = index * ROW;
    const now = window[name] ?? 0;
    return [
      s("text", { x: 0, y: y + 15 }, titled(name)),
      s("rect", { class: "before-bar", x: NAME, y: y + 3, width: length(reference[name]), height: 7, rx: 2 }),
      s("rect", { class: "after-bar", x: NAME, y: y + 12, width: length(now), height: 7, rx: 2 }),
      s(
        "text",
        { class: "strong", x: NAME + Math.max(length(now), length(reference[name])) + 6, y: y + 15 },
        percent(now),
      ),
    ];
  });
  const said = names
    .map((name) => `${name}: test split ${percent(reference[name])}, now ${percent(window[name] ?? 0)}`)
    .join("; ");
  return chart(names.length * ROW, said, rows);
}

const chart = (height, said, children) =>
  s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": said }, ...children);
