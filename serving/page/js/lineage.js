// Where an answer comes from, link by link: answer, model version, training run, code, data.

import * as api from "./api.js";
import { byId, h, icon } from "./dom.js";
import { dateTime, percent, titled, weightsInWords } from "./format.js";

/** Opens the dialog for an answer's id. */
export async function openLineage(id, onproblem) {
  let found;
  try {
    found = await api.prediction(id);
  } catch (problem) {
    return onproblem(problem, () => openLineage(id, onproblem));
  }
  const dialog = byId("lineage");
  dialog.replaceChildren(
    h(
      "div",
      { class: "inside" },
      h(
        "header",
        {},
        h("h2", { id: "lineage-title" }, "Where this answer comes from"),
        h(
          "button",
          { type: "button", class: "button small", "aria-label": "Close", onclick: () => dialog.close() },
          icon("close"),
        ),
      ),
      h(
        "ol",
        { class: "chain" },
        links(found).map(([what, value, hash]) =>
          h(
            "li",
            {},
            h("span", {}, what),
            h("b", {}, value),
            hash ? h("span", { class: "mono" }, hash) : null,
          ),
        ),
      ),
      api.key.get()
        ? null
        : h(
            "p",
            { class: "fine" },
            h("a", { href: `predictions/${id}`, target: "_blank", rel: "noopener" }, "All of it, as JSON"),
          ),
    ),
  );
  dialog.showModal();
}

function origin(weights) {
  return weights && `from ${weightsInWords(weights)}`;
}

function links(found) {
  const { model, lineage } = found;
  const known = lineage ?? {};
  return [
    [
      "answer",
      `${titled(found.emotion)}, ${percent(found.probability, 1)}, ${dateTime(found.time)}`,
      found.id,
    ],
    ["feedback", found.feedback ? titled(found.feedback) : null],
    ...found.other_faces.map(({ face, feedback }) => [
      `feedback on face ${face + 1}`,
      feedback ? titled(feedback) : null,
    ]),
    ["picture", found.picture_kept ? "kept" : "not kept; its numbers are"],
    ["model", `${model.name ?? ""} version ${model.version}`, `sha256 ${model.sha256}`],
    ["trained as", [known.architecture, origin(known.weights)].filter(Boolean).join(", ")],
    ["MLflow run", "", known.run_id],
    ["git commit", known.dirty ? "with uncommitted changes" : "", known.git_commit],
    ["dataset", "", known.dataset],
    ["DVC’s hash of the data", "", known.data_dvc],
  ].filter(([, value, hash]) => value || hash);
}
