// Joins the parts: tabs, what is known of the service, the camera and the pictures.

import * as api from "./api.js";
import { byId, h } from "./dom.js";
import { DriftTab } from "./drift_tab.js";
import { Camera } from "./camera.js";
import { mayTurnOn } from "./label_hint.js";
import { LabelTab } from "./label_tab.js";
import { PictureTab } from "./picture_tab.js";
import { ModelTab } from "./model_tab.js";
import { keptInWords } from "./privacy.js";
import { Tabs } from "./tabs.js";
import { sentence } from "./problem_texts.js";

// Seconds between two looks at which model is live: a promotion shows soon, a start sooner.
const LOOK_S = 20;
const STARTING_S = 3;
const EXAMPLES = ["happy", "surprise", "sad", "angry", "together"];

const state = { about: {}, model: null };
const assets = new URL("../", import.meta.url);

const place = { area: byId("look-area"), stage: byId("stage"), side: byId("side"), facts: () => state.about };
const seen = ({ model }) => {
  if (model.version !== state.model?.live?.version && !model.canary) refresh();
};
const camera = new Camera({
  ...place,
  onanswer: seen,
  onphoto: (file) => pictureTab.send(file),
  onstop: () => pictureTab.reset(),
});
const pictureTab = new PictureTab({
  ...place,
  onanswer: seen,
  examples,
  onsend: () => camera.end(),
  oncamera: () => {
    pictureTab.stop();
    camera.start();
  },
});
const panels = { model: new ModelTab(byId("model")), drift: new DriftTab(byId("drift")), label: new LabelTab(byId("label")) };
const tabs = new Tabs(["look", "model", "drift", "label"], (name) => {
  if (name !== "look" && place.area.dataset.state === "live") camera.stop();
  panels[name]?.show();
});

/** Drawn faces, where the model knows only such. */
function examples() {
  if (!state.model?.live?.sample) return [];
  return EXAMPLES.map((name) => ({
    name: `A drawn face: ${name}`,
    address: new URL(`faces/${name}.jpg`, assets).href,
  }));
}

async function learn() {
  try {
    state.about = await api.about();
    byId("what-is-kept").replaceChildren(keptInWords(state.about), ...labellingIsOff(state.about));
  } catch {
    /* reported when a picture is sent */
  }
}

const labellingIsOff = (about) =>
  mayTurnOn(about) ? [" Labelling is off; ", h("a", { href: "#label" }, "how to turn it on"), "."] : [];

/** The tab for labels, only for those who may label; its address tells others why they may not. */
async function offerLabels() {
  const about = api.key.get() ? await api.aboutVisitor().catch(() => state.about) : state.about;
  panels.label.about = about;
  byId("tab-label").hidden = !about.labels;
}

let timer = null;
async function refresh() {
  clearTimeout(timer);
  const found = await known();
  const before = state.model;
  state.model = found;
  show(found);
  if (before?.live?.sample !== found?.live?.sample && place.area.dataset.state === "empty") pictureTab.reset();
  timer = setTimeout(refresh, 1000 * (found && !found.live ? STARTING_S : LOOK_S));
}

/** What /model says; null when it says nothing: without a key, from another machine, or while it restarts. */
async function known() {
  if (["key", "closed"].includes(state.about.access) && !api.key.get()) return null;
  try {
    return await api.model();
  } catch {
    return null;
  }
}

function show(found) {
  const chip = byId("live-model");
  chip.dataset.state = found ? (found.live ? "live" : "none") : "unknown";
  const name =
    found?.live &&
    `${found.live.name} ${found.live.version === "local" ? found.live.sha256.slice(0, 8) : found.live.version}`;
  chip.textContent = found ? name || "no model" : "";
  const notices = [];
  if (found?.live?.sample)
    notices.push(
      h(
        "p",
        { class: "note warn", id: "demo" },
        h("strong", {}, "A demonstration. "),
        "This model has only ever seen drawn faces. Its answers on real faces mean nothing.",
      ),
    );
  if (found && !found.live)
    notices.push(
      h(
        "p",
        { class: "note bad", role: "status" },
        h("strong", {}, "No model is live yet. "),
        `${sentence(found.reason)} This page checks again by itself.`,
      ),
    );
  if (state.about.access === "closed")
    notices.push(
      h(
        "p",
        { class: "note bad" },
        h("strong", {}, "Not answered from here. "),
        "This service has no keys yet, so it answers only on its own machine, at localhost.",
      ),
    );
  const shown = byId("notices");
  // Announced again only when it has changed.
  if (shown.textContent !== notices.map((notice) => notice.textContent).join(""))
    shown.replaceChildren(...notices);
  tellKey();
}

function tellKey() {
  byId("key-in-use").replaceChildren(
    ...(api.key.get()
      ? [
          "An API key is in use in this tab. ",
          h("button", { type: "button", class: "plain", onclick: () => api.key.forget() }, "Forget it"),
        ]
      : []),
  );
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
api.key.onchange = () => {
  refresh();
  offerLabels().then(() => location.hash === "#label" && tabs.start());
};
await learn();
await offerLabels();
await refresh();
tabs.start();
document.documentElement.dataset.ready = "true";
