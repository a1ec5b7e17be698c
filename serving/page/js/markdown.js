// The Markdown of model cards as elements: headings, paragraphs, lists, tables, quotes, emphasis, code, links.
// Elements are made, never parsed: what a card holds can only become text.

import { h } from "./dom.js";

// A card's own heading is below the page's, which has two levels above it.
const DEEPER = 2;
const INLINE = /(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*|\[[^\]]+\]\([^)\s]+\))/;

/** A fragment with the card. */
export function rendered(markdown) {
  const fragment = document.createDocumentFragment();
  const lines = markdown.replaceAll("\r", "").split("\n");
  while (lines.length) {
    if (!lines[0].trim()) lines.shift();
    else fragment.append(blockOf(lines));
  }
  return fragment;
}

function blockOf(lines) {
  const [line] = lines;
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) {
    lines.shift();
    return h(`h${Math.min(6, heading[1].length + DEEPER)}`, {}, inline(heading[2]));
  }
  if (/^\s*[*-]\s/.test(line)) return h("ul", {}, items(lines, /^\s*[*-]\s+/));
  if (/^\s*\d+[.)]\s/.test(line)) return h("ol", {}, items(lines, /^\s*\d+[.)]\s+/));
  if (line.startsWith(">"))
    return h(
      "blockquote",
      {},
      h(
        "p",
        {},
        inline(
          taken(lines, (each) => each.startsWith(">"))
            .map((each) => each.replace(/^>\s?/, ""))
            .join(" "),
        ),
      ),
    );
  if (line.startsWith("|")) return tableOf(taken(lines, (each) => each.startsWith("|")));
  if (line.startsWith("```")) return code(lines);
  return h(
    "p",
    {},
    inline(taken(lines, (each) => each.trim() && !/^(#{1,6}\s|>|\||```|\s*[*-]\s)/.test(each)).join(" ")),
  );
}

/** The first lines that pass; at least one, so that parsing always advances. */
function taken(lines, passes) {
  const found = [lines.shift()];
  while (lines.length && passes(lines[0])) found.push(lines.shift());
  return found;
}

function items(lines, mark) {
  const found = [];
  while (lines.length && lines[0].trim()) {
    const line = lines.shift();
    if (mark.test(line)) found.push(line.replace(mark, ""));
    else found[found.length - 1] += ` ${line.trim()}`;
  }
  return found.map((text) => h("li", {}, inline(text)));
}

function code(lines) {
  lines.shift();
  const found = [];
  while (lines.length && !lines[0].startsWith("```")) found.push(lines.shift());
  lines.shift();
  return h("pre", {}, found.join("\n"));
}

function tableOf(lines) {
  const cells = (line) =>
    line
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => cell.trim());
  const [head, , ...rows] = lines.map(cells);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of the card" },
    h(
      "table",
      {},
      head.some(Boolean)
        ? h(
            "thead",
            {},
            h(
              "tr",
              {},
              head.map((cell) => h("th", { scope: "col" }, inline(cell))),
            ),
          )
        : null,
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            row.map((cell, index) => h(index ? "td" : "th", index ? {} : { scope: "row" }, inline(cell))),
          ),
        ),
      ),
    ),
  );
}

function inline(text) {
  return text
    .split(INLINE)
    .filter(Boolean)
    .map((part) => {
      if (part.startsWith("`") && part.length > 2) return h("code", {}, part.slice(1, -1));
      if (part.startsWith("**") && part.length > 4) return h("strong", {}, inline(part.slice(2, -2)));
      if (part.startsWith("*") && part.length > 2) return h("em", {}, part.slice(1, -1));
      const link = /^\[([^\]]+)\]\((https?:[^)\s]+)\)$/.exec(part);
      return link ? h("a", { href: link[2], rel: "noopener noreferrer", target: "_blank" }, link[1]) : part;
    });
}
