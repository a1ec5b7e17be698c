// Why a visitor cannot label pictures, and what would change that.

import * as api from "./api.js";
import { h } from "./dom.js";
import { keyForm } from "./messages.js";

/** Whether pictures cannot be labelled at all, and this visitor, whom the service answers, may learn how they can. */
export const mayTurnOn = ({ access, kept }) => access === "given" && !kept.pictures_fraction;

/** The content of the tab for somebody who may not label; `about` as /about says it to this visitor. */
export function labelHint(about) {
  const [title, text, ...more] = why(about);
  return h(
    "div",
    {},
    h("p", { class: "eyebrow" }, "Label"),
    h("h1", {}, title),
    h("p", { class: "lead" }, text),
    ...more,
  );
}

function why(about) {
  if (about.access === "closed")
    return ["No labels from here", "This service answers only on its own machine."];
  if (!about.kept.pictures_fraction) {
    const off = "People label pictures that were kept, and this service keeps none.";
    if (!mayTurnOn(about)) return ["Labelling is off", `${off} Its operator can turn it on.`];
    return [
      "Labelling is off",
      off,
      h(
        "p",
        { class: "lead" },
        "To turn it on, set ",
        h("code", {}, "MIEN_KEEP_IMAGES"),
        " to the share of the pictures to keep, such as 0.05, and start the service again. ",
        "The first tab then tells visitors that pictures are kept.",
      ),
    ];
  }
  const asked = "Only people whose key has the scope “label” may label kept pictures.";
  if (api.key.get())
    return ["This key may not label", `${asked} Ask the operator of the service for one.`];
  return ["Labelling needs a key", asked, h("div", { class: "message calm" }, keyForm(() => {}))];
}
