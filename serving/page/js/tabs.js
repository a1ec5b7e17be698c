// Tabs as the ARIA Authoring Practices have them: one stop of the tab key, arrows between, the address remembers.

import { byId } from "./dom.js";

/** The tabs `names`; `onshow` gets the name of the shown one. */
export class Tabs {
  constructor(names, onshow) {
    Object.assign(this, { names, onshow });
    for (const name of names) {
      const tab = byId(`tab-${name}`);
      tab.addEventListener("click", () => this.go(name));
      tab.addEventListener("keydown", (event) => this.key(event, name));
    }
    addEventListener("hashchange", () => this.show(this.named()));
  }

  start() {
    this.show(this.named());
  }

  /** Names of the tabs that are not hidden. */
  get offered() {
    return this.names.filter((name) => !byId(`tab-${name}`).hidden);
  }

  /** The tab of the address; a hidden one too, whose content says why it is hidden. */
  named() {
    const name = location.hash.slice(1);
    return this.names.includes(name) ? name : this.names[0];
  }

  go(name) {
    if (this.named() === name) return this.show(name);
    // The address changes, which shows it; replaced, so that the browser's way back leaves the page.
    history.replaceState(null, "", `#${name}`);
    this.show(name);
  }

  key(event, name) {
    const { offered } = this;
    const at = offered.indexOf(name);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: offered.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = offered[(to + offered.length) % offered.length];
    this.go(next);
    byId(`tab-${next}`).focus();
  }

  show(shown) {
    const { offered } = this;
    const stop = offered.includes(shown) ? shown : offered[0];
    for (const name of this.names) {
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === shown));
      tab.tabIndex = name === stop ? 0 : -1;
      byId(name).hidden = name !== shown;
    }
    scrollTo({ top: 0, behavior: "instant" });
    this.onshow(shown);
  }
}
