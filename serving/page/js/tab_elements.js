// Elements shared by the second and the third tab.

import * as api from "./api.js";
import { h } from "./dom.js";
import { problemMessage } from "./messages.js";

/** A titled part of a tab. */
export function block(title, lead, ...children) {
  return h(
    "section",
    { class: "block" },
    h("h2", {}, title),
    lead ? h("p", { class: "lead" }, lead) : null,
    ...children,
  );
}

/** A definition list out of [term, description] pairs; those without a description are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h(
    "dl",
    { class: "facts" },
    shown.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** Large numbers in a row: [value, what it is, more]. */
export function figures(rows) {
  return h(
    "dl",
    { class: "figures" },
    rows.map(([value, what, more]) =>
      h(
        "div",
        {},
        h("dt", {}, what),
        h("dd", { class: "value-of" }, h("span", { class: "value" }, value)),
        more ? h("dd", {}, h("small", {}, more)) : null,
      ),
    ),
  );
}

/**
 * A table; `columns` are [title, kind], a row's first cell is its heading. The kind is "n" for numbers, "short"
 * for what stays on one line, and empty for words.
 * With `stacked`, for cells of many words, a narrow screen has a row's cells one below the other.
 */
export function table(label, columns, rows, { stacked = false } = {}) {
  const cell = (value, index) => {
    const [title, kind] = columns[index];
    const attributes = { scope: index ? null : "row", class: kind || null, "data-title": title };
    return h(index ? "td" : "th", attributes, value);
  };
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: stacked ? "stacked" : null },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([title, kind]) => h("th", { scope: "col", class: kind || null }, title)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) => h("tr", {}, row.map(cell))),
      ),
    ),
  );
}

/** A long hash: its beginning, and all of it as a tooltip. */
export const hash = (value) =>
  value
    ? h("span", { class: "mono hash", title: value }, value.length > 16 ? value.slice(0, 12) : value)
    : null;

/** The commit of a lineage; null without one. With uncommitted changes the commit alone does not give the model. */
export const commitOf = ({ git_commit: commit, dirty }) =>
  commit ? h("span", {}, hash(commit), dirty ? " with uncommitted changes" : null) : null;

export const absent = (text) => h("p", { class: "absent" }, text);

/** A tab whose content is asked for each time it is shown. */
export class Panel {
  constructor(place) {
    this.place = place;
  }

  async show() {
    if (!this.place.children.length)
      this.place.replaceChildren(h("p", { class: "soft", role: "status" }, "One moment…"));
    try {
      this.place.replaceChildren(...(await this.content()));
    } catch (problem) {
      if (!(problem instanceof api.Problem)) throw problem;
      this.place.replaceChildren(
        h("h1", { class: "unseen" }, this.title),
        problemMessage(problem, { again: () => this.show() }),
      );
    }
  }
}
