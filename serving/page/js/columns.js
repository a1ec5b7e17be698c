// A small chart for each column that drift compares: what it was on the test split, what it is now.

import { h, s } from "./dom.js";
import { counted, number, percent, titled } from "./format.js";

const WIDTH = 300;
const ROW = 26;
const NAME = 66;
const NAMES = {
  brightness: "Brightness",
  contrast: "Contrast",
  sharpness: "Sharpness",
  confidence: "Confidence",
  entropy: "Doubt (entropy)",
  face_size: "Size of the face",
  novelty: "Novelty",
  predicted: "Emotions",
};

/** Name of a column as people say it. */
export const columnName = (name) => NAMES[name] ?? titled(name);

/** One column's card. */
export function columnCard(name, column) {
  const isNumber = "mean" in column.reference;
  return h(
    "li",
    { class: `card column${isNumber ? "" : " tall"}${column.drifted ? " moved" : ""}` },
    h(
      "header",
      {},
      h("h3", {}, columnName(name)),
      h("span", { class: `tag-flat${column.drifted ? " bad" : ""}` }, column.drifted ? "moved" : "as before"),
    ),
    isNumber ? ranges(column) : shares(column),
    gauge(column),
  );
}

function gauge({ score, threshold, method, dropped }) {
  const most = 1.25 * Math.max(score, threshold, 1e-9);
  return h(
    "div",
    {},
    h(
      "div",
      {
        class: "gauge",
        "aria-hidden": "true",
        style: { "--score": score / most, "--limit": threshold / most },
      },
      h("i"),
      h("b"),
    ),
    h(
      "p",
      { class: "fine", title: method },
      `distance ${number(score)}, chance explains up to ${number(threshold)}`,
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
