// Navigation: shows one section and loads its data.

import {countSamples} from "./prediction.js";
import {onKey} from "./service.js";
import * as training from "./training.js";
import * as versions from "./versions.js";

const OPEN = {read: () => Promise.all([countSamples(), versions.showServing()]), train: training.open, models: versions.open};

function open() {
  const name = location.hash.slice(1) in OPEN ? location.hash.slice(1) : "read";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  return OPEN[name]();
}

document.getElementById("learn").addEventListener("click", () => setTimeout(training.selectCorrections, 500));
addEventListener("hashchange", open);
onKey(open);
open();
