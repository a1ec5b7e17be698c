// "That's right" and "that's wrong": both are asked for, since corrections alone would only count mistakes.

import * as api from "./api.js";
import { announce, h, icon } from "./dom.js";
import { titled } from "./format.js";
import { hueOf } from "./colours.js";
import { inWords } from "./problem_texts.js";

/** Asks whether the answer on the largest face is right. */
export function feedbackPanel(answer, onproblem) {
  const panel = h("div", { class: "verdict-of-people" });
  const predicted = top(answer.probabilities);
  const ask = () =>
    panel.replaceChildren(
      h(
        "div",
        { class: "ask" },
        h("span", { id: "is-it-right" }, "Is that what the face shows?"),
        h(
          "span",
          { class: "row", role: "group", "aria-labelledby": "is-it-right" },
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
    const others = Object.keys(answer.probabilities).filter((name) => name !== predicted);
    panel.replaceChildren(
      h(
        "fieldset",
        { class: "choices" },
        h("legend", {}, "What does it show?"),
        others.map((name) =>
          h(
            "button",
            {
              type: "button",
              class: "button small",
              "data-hue": hueOf(name, Object.keys(answer.probabilities)),
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
      await api.feedback(answer.id, emotion);
      thank(panel, emotion, predicted, ask);
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

function thank(panel, emotion, predicted, again) {
  const words =
    emotion === predicted
      ? "Thank you: noted as right."
      : `Thank you: noted as ${titled(emotion).toLowerCase()}.`;
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
