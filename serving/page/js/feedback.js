// "That's right" and "that's wrong": both are asked for, since corrections alone would only count mistakes.

import * as api from "./api.js";
import { announce, h, icon } from "./dom.js";
import { titled } from "./format.js";
import { hueOf } from "./colours.js";
import { inWords } from "./problem_texts.js";

/**
 * Asks whether the answer on one face is right.
 * @param id of the answer; `face` is one of its faces, `index` its place among them.
 * @param several whether the answer has more faces than this one.
 * @param onstored is called with the emotion that was stored.
 */
export function feedbackPanel({ id, face, index, several, onstored, onproblem }) {
  const panel = h("div", { class: "verdict-of-people" });
  const predicted = top(face.probabilities);
  const question = `is-it-right-${index}`;
  const ask = () =>
    panel.replaceChildren(
      h(
        "div",
        { class: "ask" },
        h("span", { id: question }, `Is that what ${several ? `face ${index + 1}` : "the face"} shows?`),
        h(
          "span",
          { class: "row", role: "group", "aria-labelledby": question },
          h(
            "button",
            { type: "button", class: "button small", onclick: () => send(predicted) },
            "That’s right",
          ),
          h(
            "button",
            { type: "button", class: "button small", "aria-expanded": "false", onclick: choose },
            "That’s wrong",
          ),
        ),
      ),
    );
  const choose = () => {
    const others = Object.keys(face.probabilities).filter((name) => name !== predicted);
    panel.replaceChildren(
      h(
        "fieldset",
        { class: "choices" },
        h("legend", {}, `What does ${several ? `face ${index + 1}` : "it"} show?`),
        others.map((name) =>
          h(
            "button",
            {
              type: "button",
              class: "button small",
              "data-hue": hueOf(name, Object.keys(face.probabilities)),
              onclick: () => send(name),
            },
            titled(name),
          ),
        ),
        h("button", { type: "button", class: "plain", onclick: ask }, "Never mind"),
      ),
    );
    panel.querySelector("button").focus();
  };
  const send = async (emotion) => {
    panel.querySelectorAll("button").forEach((button) => {
      button.disabled = true;
    });
    try {
      await api.feedback(id, index, emotion);
      const words = thanks(several ? `face ${index + 1}` : "", emotion, predicted);
      thank(panel, words, ask);
      onstored(emotion);
    } catch (problem) {
      if (problem.kind === "unauthorized") return onproblem(problem, () => send(emotion));
      const { title, text } = inWords(problem);
      panel.replaceChildren(
        h("p", { role: "alert" }, h("strong", {}, `${title}. `), text),
        h("button", { type: "button", class: "button small", onclick: () => send(emotion) }, "Try again"),
      );
    }
  };
  ask();
  return panel;
}

function thanks(which, emotion, predicted) {
  const noted = emotion === predicted ? "right" : titled(emotion).toLowerCase();
  return which ? `Thank you: ${which} is noted as ${noted}.` : `Thank you: noted as ${noted}.`;
}

function thank(panel, words, again) {
  panel.replaceChildren(
    h(
      "p",
      { class: "thanks" },
      icon("check"),
      h("span", {}, words),
      h("button", { type: "button", class: "plain", onclick: again }, "Change"),
    ),
  );
  announce(words);
}

const top = (probabilities) =>
  Object.keys(probabilities).reduce((best, name) =>
    probabilities[name] > probabilities[best] ? name : best,
  );
