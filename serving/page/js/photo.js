// A photo on the stage, its boxes and its heat.

import { Boxes } from "./boxes.js";
import { h } from "./dom.js";
import { counted } from "./format.js";
import { SCALE, heatCanvas } from "./heatmap.js";
import { drawn } from "./picture.js";

// Longest side, px, of what is drawn: enough for the largest screen the stage has.
const DRAWN_PX = 1400;
// Maximum enlargement of a small picture; beyond it no more detail shows.
const ENLARGED = 4;
const FIRST_HEAT = 45;
// Percent of heat at which the photo below has lost its own colours.
const GRAY_AT = 60;

let heat = FIRST_HEAT;

/** What was looked at: the faces, or without one the whole picture, as though it were one. */
export function looked(answer) {
  if (answer.faces.length) return answer.faces;
  return [{ ...answer, box: { left: 0, top: 0, ...answer.image }, whole: true }];
}

/** One photo; `bitmap` is null when this browser cannot show it, though the service may read it. */
export class Photo {
  constructor(bitmap) {
    this.seen = bitmap !== null;
    const { width, height } = bitmap ?? { width: 4, height: 3 };
    const size = drawnSize({ width, height });
    this.canvas = bitmap ? drawn(bitmap, size.width, size.height) : h("canvas");
    this.canvas.classList.add("picture");
    this.canvas.setAttribute("role", "img");
    this.name(this.seen ? "Your photo" : "A photo that this browser cannot show");
    this.working = h("div", { class: "working" });
    const style = {
      "--aspect": (width / height).toFixed(4),
      "--most": this.seen ? `${width * ENLARGED}px` : "100%",
    };
    this.view = h("div", { class: "frame", style }, this.canvas, this.working);
    this.element = h("div", { class: "frame-holder" }, this.view);
  }

  name(words) {
    this.canvas.setAttribute("aria-label", words);
  }

  /** Nothing is being asked any more. */
  rest() {
    this.working.remove();
  }

  /** Lay boxes and heatmap on the photo; return the heatmap's slider. `onchoose` gets the chosen face. */
  show(answer, onchoose) {
    this.rest();
    this.answer = answer;
    this.boxes = new Boxes({ label: "Faces", onchoose });
    this.view.append(heatLayer(answer), possibleFaces(answer), this.boxes.element);
    const { length } = answer.faces;
    this.name(
      answer.faces[0].whole
        ? "Your photo, without a face that was found"
        : `Your photo, ${counted(length, "face")}`,
    );
    return this.heatControl();
  }

  choose(index) {
    this.boxes.show(this.answer, { chosen: index });
  }

  heatControl() {
    const output = h("output", { for: "heat" });
    const range = h("input", {
      type: "range",
      id: "heat",
      min: 0,
      max: 100,
      step: 5,
      value: heat,
      "aria-describedby": "heat-words",
    });
    const apply = () => {
      heat = Number(range.value);
      output.textContent = `${heat}\u202f%`;
      range.setAttribute("aria-valuetext", `${heat} percent`);
      this.view.style.setProperty("--heat", heat / 100);
      this.view.style.setProperty("--gray", Math.min(1, heat / GRAY_AT));
    };
    range.addEventListener("input", apply);
    apply();
    return h(
      "div",
      { class: "heat-control" },
      h("label", { for: "heat" }, "Where it looked"),
      range,
      output,
      h(
        "p",
        { class: "fine heat-words", id: "heat-words" },
        "From violet ",
        h("i", { "aria-hidden": "true", style: { background: SCALE } }),
        " to yellow: how much a place counted. ",
        "The photo turns gray meanwhile, so that its own colours are not taken for heat.",
      ),
    );
  }
}

/** Dashed boxes where a face may have been missed; `missed` says it in words. */
function possibleFaces({ possible_faces: faces, image }) {
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  const boxes = faces.map(({ box }) =>
    h("i", {
      style: {
        left: percent(box.left, image.width),
        top: percent(box.top, image.height),
        width: percent(box.width, image.width),
        height: percent(box.height, image.height),
      },
    }),
  );
  return h("div", { class: "possible-faces", "aria-hidden": "true" }, boxes);
}

function heatLayer(answer) {
  const canvas = h("canvas", { class: "heat", "aria-hidden": "true" });
  const size = drawnSize(answer.image);
  Object.assign(canvas, size);
  const scale = size.width / answer.image.width;
  const context = canvas.getContext("2d");
  for (const { heatmap, area } of answer.faces) {
    if (!heatmap) continue;
    const place = [area.left, area.top, area.width, area.height].map((each) => each * scale);
    context.drawImage(heatCanvas(heatmap), ...place);
  }
  return canvas;
}

function drawnSize({ width, height }) {
  const scale = Math.min(1, DRAWN_PX / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
