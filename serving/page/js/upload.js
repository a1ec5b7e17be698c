// The ways in: a photo that is dropped, chosen or pasted, the camera, or a drawn face to try.

import { h, icon } from "./dom.js";

/** What the empty stage shows; `examples` are {name, address} of pictures. */
export function dropZone({ examples, ...ways }) {
  const emblem = icon("face");
  emblem.classList.add("emblem");
  return h(
    "div",
    { class: "drop" },
    emblem,
    h(
      "h2",
      {},
      h("span", { class: "with-mouse" }, "Drop a photo here"),
      h("span", { class: "with-fingers" }, "Show it a photo"),
    ),
    h("p", { class: "soft with-mouse" }, "or paste one with ", h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "V")),
    choices(ways, { first: true }),
    examples.length ? exampleRow(examples, ways) : null,
  );
}

/** The two buttons; large ones when there is no picture yet. */
export function choices({ onpick, oncamera }, { first = false } = {}) {
  const button = (kind, onclick, name, words) =>
    h("button", { type: "button", class: `button${kind}`, onclick }, icon(name), words);
  return h(
    "div",
    { class: "row" },
    button(first ? " primary" : " small", onpick, "photo", first ? "Choose a photo" : "Another photo"),
    button(first ? "" : " small", oncamera, "camera", first ? "Use the camera" : "Camera"),
  );
}

function exampleRow(examples, { onexample }) {
  const button = (example) =>
    h(
      "button",
      { type: "button", onclick: () => onexample(example) },
      h("img", { src: example.address, alt: example.name, width: 56, height: 56 }),
    );
  return h(
    "div",
    { class: "examples" },
    h("p", { class: "fine" }, "or try a drawn face"),
    h("div", { class: "row" }, examples.map(button)),
  );
}
