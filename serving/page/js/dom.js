// Elements out of values. Text is only ever text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on…` keys are listeners, `style` is an object, null and false leave an attribute out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style")
      for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** The element of an id. */
export const byId = (id) => document.getElementById(id);

/** Says something to screen readers, without moving anything. */
export function announce(text) {
  const place = byId("announcer");
  // The same words twice are said twice only when the text is another one in between.
  place.textContent = "";
  setTimeout(() => {
    place.textContent = text;
  }, 40);
}

const ICONS = {
  face: [
    "M2 9V5a3 3 0 0 1 3-3h4M23 2h4a3 3 0 0 1 3 3v4M30 23v4a3 3 0 0 1-3 3h-4M9 30H5a3 3 0 0 1-3-3v-4",
    "M11.5 12v1.5M20.5 12v1.5M10.5 19.5c1.5 2 3.300 3 5.5 3s4-1 5.5-3",
  ],
  photo: [
    "M4 7a3 3 0 0 1 3-3h18a3 3 0 0 1 3 3v18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3z",
    "M5 24l7-8 5 5 4-4 6 6M20.5 11.5h.01",
  ],
  camera: [
    "M3 11a3 3 0 0 1 3-3h4l2-3h8l2 3h4a3 3 0 0 1 3 3v12a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3z",
    "M16 12a5 5 0 1 0 0 10 5 5 0 0 0 0-10z",
  ],
  check: ["M6 17l7 7L26 9"],
  close: ["M8 8l16 16M24 8L8 24"],
};

/** One of the few line drawings, 32 units wide; decoration, so hidden from screen readers. */
export function icon(name) {
  const paths = ICONS[name].map((d) => s("path", { d }));
  return s("svg", { viewBox: "0 0 32 32", class: "line-icon", "aria-hidden": "true" }, ...paths);
}
