// A bar per emotion.

import { h } from "./dom.js";
import { percent, titled } from "./format.js";
import { hueOf } from "./colours.js";

/** Bars of {emotion: probability}, the highest first unless `ordered` keeps the model's order. */
export function bars(probabilities, { ordered = false } = {}) {
  const list = new Bars(Object.keys(probabilities), ordered ? null : probabilities);
  list.show(probabilities);
  return list.element;
}

/** Bars that can change. */
export class Bars {
  constructor(classes, sortBy = null) {
    const shown = sortBy ? [...classes].sort((a, b) => sortBy[b] - sortBy[a]) : classes;
    this.rows = new Map(shown.map((name) => [name, row(name, classes)]));
    this.element = h(
      "ul",
      { class: "bars", role: "list" },
      [...this.rows.values()].map((each) => each.element),
    );
  }

  /** Take new probabilities. */
  show(probabilities) {
    const top = Object.keys(probabilities).reduce((best, name) =>
      probabilities[name] > probabilities[best] ? name : best,
    );
    for (const [name, { element, fill, value }] of this.rows) {
      element.classList.toggle("strongest", name === top);
      fill.style.setProperty("--share", probabilities[name].toFixed(4));
      value.textContent = percent(probabilities[name], 1);
    }
  }
}

function row(name, classes) {
  const fill = h("i");
  const value = h("span", { class: "value" });
  const element = h(
    "li",
    { class: "bar", "data-hue": hueOf(name, classes) },
    h("span", { class: "name", title: titled(name) }, titled(name)),
    h("span", { class: "track", "aria-hidden": "true" }, fill),
    value,
  );
  return { element, fill, value };
}
