// The panel that says what went wrong, and what can be done: again, smaller, with a key.

import { key } from "./api.js";
import { h } from "./dom.js";
import { inWords } from "./problem_texts.js";

/** A message. `actions` are [words, function] pairs, the first one the most likely. */
export function message({ title, text, actions = [], calm = false, quiet = false }, ...more) {
  const buttons = actions.map(([words, act], index) =>
    h(
      "button",
      { type: "button", class: `button small${index || quiet ? "" : " primary"}`, onclick: act },
      words,
    ),
  );
  const said = h("div", { role: "alert" }, h("h2", {}, title), h("p", {}, text));
  return h(
    "div",
    { class: `message${calm ? " calm" : ""}` },
    said,
    ...more,
    buttons.length ? h("div", { class: "row" }, buttons) : null,
  );
}

/** The message of a problem. `again` repeats what failed; `shrink` does so with a smaller picture. */
export function problemMessage(problem, { facts = {}, again = null, shrink = null, others = [] } = {}) {
  const words = inWords(problem, facts);
  const actions = [];
  if (words.shrinks && shrink) actions.push(["Send a smaller copy", shrink]);
  if (again && !words.needsKey && !words.shrinks && !words.lasting) actions.push(["Try again", again]);
  const form = words.needsKey && again ? keyForm(again) : null;
  return message(
    { ...words, calm: problem.passing, actions: [...actions, ...others], quiet: form !== null },
    form,
  );
}

// Several tabs may show a form, and ids are the page's.
let forms = 0;

/** The form for an API key; `then` is called once there is one. */
export function keyForm(then) {
  forms += 1;
  const [id, note] = [`api-key-${forms}`, `api-key-note-${forms}`];
  const input = h("input", {
    type: "password",
    id,
    name: "api-key",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": note,
  });
  const submit = (event) => {
    event.preventDefault();
    const given = input.value.trim();
    if (!given) return;
    key.set(given);
    then();
  };
  return h(
    "form",
    { onsubmit: submit },
    h("label", { for: id }, "API key"),
    h("div", { class: "row" }, input, h("button", { type: "submit", class: "button primary" }, "Use it")),
    h(
      "p",
      { class: "fine", id: note },
      "It stays in this tab until the tab is closed, and is sent only to this service.",
    ),
  );
}

/** A message that counts down to the next try. Resolves when it is time, rejects when the visitor stops it. */
export function countdown(place, problem, seconds, { signal } = {}) {
  return new Promise((resolve, reject) => {
    const left = h("span", { "aria-hidden": "true" });
    const stop = (settle) => {
      clearInterval(timer);
      signal?.removeEventListener("abort", aborted);
      settle();
    };
    const aborted = () => stop(() => reject(new DOMException("stopped", "AbortError")));
    const due = performance.now() + seconds * 1000;
    const show = () => {
      const rest = Math.ceil((due - performance.now()) / 1000);
      if (rest <= 0) return stop(resolve);
      left.textContent = `Trying again in ${rest} s.`;
    };
    const timer = setInterval(show, 200);
    signal?.addEventListener("abort", aborted);
    const actions = [
      ["Try again now", () => stop(resolve)],
      ["Stop trying", () => stop(() => reject(problem))],
    ];
    const words = inWords(problem);
    place.replaceChildren(
      message(
        { ...words, calm: true, actions },
        h(
          "p",
          {},
          left,
          h("span", { class: "unseen" }, `It is tried again in ${Math.ceil(seconds)} seconds.`),
        ),
      ),
    );
    show();
  });
}
