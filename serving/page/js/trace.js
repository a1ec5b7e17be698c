// A line per emotion over the last 30 seconds.

import { h, s } from "./dom.js";
import { percent, titled } from "./format.js";
import { hueOf } from "./colours.js";

const WINDOW_S = 30;
// Without an answer for longer than this a line has a gap: there was no face.
const GAP_S = 1.5;
const LABELLED = 0.12;
const LABEL_PX = 15;
const MARGIN = { left: 34, right: 84, top: 8, bottom: 20 };

/** The chart; `add` takes {emotion: probability}, `draw` shows what is known at a time. */
export class Trace {
  constructor() {
    this.points = [];
    this.svg = s("svg", { role: "img", "aria-label": "No face was seen yet." });
    this.caption = h("b", {}, "no face yet");
    this.element = h(
      "figure",
      { class: "card trace" },
      h("figcaption", {}, h("span", {}, "The last 30 seconds"), this.caption),
      this.svg,
    );
    this.lines = new Map();
  }

  add(values, at) {
    this.points.push({ at, values });
    while (this.points.length && this.points[0].at < at - WINDOW_S - GAP_S) this.points.shift();
  }

  draw(now) {
    const box = this.svg.getBoundingClientRect();
    if (!box.width) return;
    const plot = {
      left: MARGIN.left,
      right: box.width - MARGIN.right,
      top: MARGIN.top,
      bottom: box.height - MARGIN.bottom,
    };
    if (this.width !== box.width || this.height !== box.height) this.frame(box, plot);
    const latest = this.points.at(-1);
    if (!latest) return;
    const names = Object.keys(latest.values);
    const strongest = names.reduce((best, name) => (latest.values[name] > latest.values[best] ? name : best));
    const x = (at) => plot.right - ((now - at) / WINDOW_S) * (plot.right - plot.left);
    const y = (value) => plot.bottom - value * (plot.bottom - plot.top);
    const seen = now - latest.at < GAP_S;
    const labels = seen
      ? spread(
          names
            .filter((name) => latest.values[name] > LABELLED)
            .map((name) => ({ name, y: y(latest.values[name]) })),
          plot,
        )
      : new Map();
    for (const name of names)
      this.line(name, names).show(
        this.path(name, x, y, now),
        name === strongest,
        labels.get(name),
        plot.right,
      );
    this.caption.textContent = seen
      ? `${titled(strongest)}, ${percent(latest.values[strongest])}`
      : "no face now";
    this.svg.setAttribute(
      "aria-label",
      `Emotions over the last 30 seconds. Now: ${this.caption.textContent}.`,
    );
  }

  path(name, x, y, now) {
    let path = "";
    let before = -Infinity;
    for (const { at, values } of this.points) {
      if (at >= now - WINDOW_S && name in values)
        path += `${at - before > GAP_S ? "M" : "L"}${x(at).toFixed(1)} ${y(values[name]).toFixed(1)}`;
      before = at >= now - WINDOW_S ? at : -Infinity;
    }
    return path;
  }

  line(name, names) {
    if (!this.lines.has(name)) {
      const line = new Line(name, hueOf(name, names));
      this.lines.set(name, line);
      this.svg.append(line.element);
    }
    return this.lines.get(name);
  }

  frame(box, plot) {
    [this.width, this.height] = [box.width, box.height];
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    this.rules?.remove();
    const rules = [0, 0.5, 1].map((share) => {
      const y = plot.bottom - share * (plot.bottom - plot.top);
      return [
        s("line", { class: "rule", x1: plot.left, x2: plot.right, y1: y, y2: y }),
        s("text", { x: plot.left - 6, y: y + 4, "text-anchor": "end" }, `${share * 100}`),
      ];
    });
    const times = [30, 20, 10, 0].map((ago) =>
      s(
        "text",
        {
          x: plot.right - (ago / WINDOW_S) * (plot.right - plot.left),
          y: box.height - 2,
          "text-anchor": ago === 30 ? "start" : "middle",
        },
        ago ? `−${ago} s` : "now",
      ),
    );
    this.rules = s("g", { "aria-hidden": "true" }, ...rules.flat(), ...times);
    this.svg.prepend(this.rules);
  }
}

class Line {
  constructor(name, hue) {
    this.path = s("path");
    this.dot = s("circle", { r: 3.5 });
    this.label = s("text", { class: "end" }, titled(name));
    this.element = s("g", { "data-hue": hue }, this.path, this.dot, this.label);
  }

  show(path, strongest, labelY, right) {
    this.path.setAttribute("d", path);
    this.element.classList.toggle("strongest", strongest);
    const shown = labelY !== undefined;
    this.dot.toggleAttribute("hidden", !shown);
    this.dot.style.display = this.label.style.display = shown ? "" : "none";
    if (!shown) return;
    this.dot.setAttribute("cx", right + 8);
    this.dot.setAttribute("cy", labelY);
    this.label.setAttribute("x", right + 16);
    this.label.setAttribute("y", labelY + 4);
  }
}

/** Heights of the labels, moved apart so that none covers another. */
function spread(labels, plot) {
  labels.sort((a, b) => a.y - b.y);
  for (let index = 1; index < labels.length; index += 1)
    labels[index].y = Math.max(labels[index].y, labels[index - 1].y + LABEL_PX);
  let lowest = plot.bottom + 4;
  for (const label of [...labels].reverse()) {
    label.y = Math.min(label.y, lowest);
    lowest = label.y - LABEL_PX;
  }
  return new Map(labels.map(({ name, y }) => [name, y]));
}
