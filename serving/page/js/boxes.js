// Boxes around faces, over a picture or a video: buttons, so that a face is chosen by touch and by key.

import { h } from "./dom.js";
import { percent, spokenPercent, titled } from "./format.js";
import { hueOf } from "./hues.js";

// Rendered px of a box below which its label would cover more than it tells.
const TINY_PX = 44;

/** A layer of boxes. */
export class Boxes {
  constructor({ label, onchoose = null }) {
    this.element = h("ul", { class: "boxes", "aria-label": label });
    this.onchoose = onchoose;
    this.buttons = [];
  }

  /** Draw the faces of an answer; `mirrored` when the video is. */
  show(answer, { chosen = -1, mirrored = false } = {}) {
    while (this.buttons.length < answer.faces.length) this.add();
    this.buttons.forEach((button, index) => {
      const face = answer.faces[index];
      button.parentElement.hidden = !face;
      if (face) this.place(button, face, answer, { mirrored, chosen: index === chosen, index });
    });
  }

  add() {
    const index = this.buttons.length;
    const button = h(
      "button",
      { type: "button", class: "box", onclick: () => this.onchoose?.(index) },
      h("span", { class: "tag" }, h("span"), h("b")),
    );
    if (!this.onchoose) button.tabIndex = -1;
    this.buttons.push(button);
    this.element.append(h("li", {}, button));
  }

  place(button, face, answer, { mirrored, chosen, index }) {
    const { width, height } = answer.image;
    const box = face.box;
    const left = mirrored ? width - box.left - box.width : box.left;
    const share = (part, whole) => `${(100 * part) / whole}%`;
    const style = {
      left: share(left, width),
      top: share(box.top, height),
      width: share(box.width, width),
      height: share(box.height, height),
    };
    for (const [name, value] of Object.entries(style)) button.style.setProperty(name, value);
    const rendered = this.element.clientWidth * (box.width / width);
    button.classList.toggle("tiny", rendered < TINY_PX);
    button.classList.toggle("at-top", box.top < 0.1 * height);
    button.classList.toggle("at-right", left + box.width > 0.82 * width);
    button.setAttribute("aria-pressed", String(chosen));
    const said = face.emotion ? titled(face.emotion) : "Unsure";
    if (face.emotion) button.dataset.hue = hueOf(face.emotion, Object.keys(face.probabilities));
    button.setAttribute("aria-label", `Face ${index + 1}: ${said}, ${spokenPercent(face.probability)}`);
    const [word, sure] = button.firstChild.children;
    word.textContent = said;
    sure.textContent = ` ${percent(face.probability)}`;
  }
}
