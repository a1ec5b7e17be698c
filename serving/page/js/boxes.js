// Boxes around faces, over a picture or a video: buttons, so that a face is chosen by touch and by key.

import { h } from "./dom.js";
import { percent, spokenPercent, titled } from "./format.js";
import { hueOf } from "./colours.js";
import { placeLabels } from "./labels.js";

/** A layer of boxes, each with a label; of several faces each has its number, as in the list beside. */
export class Boxes {
  constructor({ label, onchoose = null }) {
    this.element = h("ul", { class: "boxes", "aria-label": label });
    this.onchoose = onchoose;
    this.items = [];
    new ResizeObserver(() => this.layLabels()).observe(this.element);
  }

  /** Draw the faces of an answer; `mirrored` when the video is. */
  show(answer, { chosen = -1, mirrored = false } = {}) {
    Object.assign(this, { answer, chosen, mirrored });
    while (this.items.length < answer.faces.length) this.add();
    this.items.forEach(({ button }, index) => {
      const face = answer.faces[index];
      button.parentElement.hidden = !face;
      if (face) this.fill(index, face);
    });
    this.layLabels();
  }

  add() {
    const index = this.items.length;
    const button = h("button", { type: "button", class: "box", onclick: () => this.onchoose?.(index) });
    if (!this.onchoose) button.tabIndex = -1;
    // The button's name says the same to those who cannot see it.
    const tag = h("span", { class: "tag", "aria-hidden": "true" });
    this.items.push({ button, tag });
    this.element.append(h("li", {}, button, tag));
  }

  fill(index, face) {
    const { button, tag } = this.items[index];
    const { left, top, width, height } = this.shares(face);
    for (const [name, value] of Object.entries({ left, top, width, height }))
      button.style.setProperty(name, `${100 * value}%`);
    button.setAttribute("aria-pressed", String(index === this.chosen));
    const said = face.emotion ? titled(face.emotion) : "Unsure";
    const hue = face.emotion ? hueOf(face.emotion, Object.keys(face.probabilities)) : "";
    button.parentElement.dataset.hue = hue;
    button.parentElement.classList.toggle("unfamiliar", face.unfamiliar === true);
    const unlike = face.unfamiliar ? ", unlike the pictures the model learned from" : "";
    button.setAttribute("aria-label", `Face ${index + 1}: ${said}, ${spokenPercent(face.probability)}${unlike}`);
    const number = this.answer.faces.length > 1 ? h("i", {}, String(index + 1)) : null;
    tag.replaceChildren(...(number ? [number] : []), h("span", {}, said), h("b", {}, percent(face.probability)));
  }

  /** Where a face is, as shares of the picture. */
  shares({ box }) {
    const { width, height } = this.answer.image;
    const left = this.mirrored ? width - box.left - box.width : box.left;
    return { left: left / width, top: box.top / height, width: box.width / width, height: box.height / height };
  }

  /** Lay the labels where there is room: with words and percentage, with words, or with the number alone. */
  layLabels() {
    const stage = { width: this.element.clientWidth, height: this.element.clientHeight };
    if (!this.answer || !stage.width) return;
    const shown = this.items.slice(0, this.answer.faces.length);
    const boxes = this.answer.faces.map((face) => {
      const { left, top, width, height } = this.shares(face);
      return {
        left: left * stage.width,
        top: top * stage.height,
        width: width * stage.width,
        height: height * stage.height,
      };
    });
    const forms = shown.length > 1 ? ["", "words", "number"] : ["", "words"];
    const sizes = shown.map(() => []);
    for (const form of forms) {
      for (const { tag } of shown) tag.dataset.form = form;
      shown.forEach(({ tag }, index) => sizes[index].push({ width: tag.offsetWidth, height: tag.offsetHeight }));
    }
    const order = shown.map((_, index) => index).sort((a, b) => (b === this.chosen) - (a === this.chosen));
    placeLabels(boxes, sizes, stage, order).forEach((place, index) => {
      const { tag } = shown[index];
      tag.dataset.form = place ? forms[place.size] : "none";
      if (!place) return;
      tag.style.setProperty("left", `${place.left}px`);
      tag.style.setProperty("top", `${place.top}px`);
    });
  }
}
