// The versions of the model: how good each is, how each reads the drawing, and which one serves.

import {content, isEmpty} from "./paper.js";
import {ask, get, send, tell} from "./service.js";
import {line} from "./training.js";

const byId = (id) => document.getElementById(id);
let model = "mnist", alias = "production", generation = 0;

export async function showServing() {
  try {
    const ready = await get("health/ready");
    model = ready.model;
    byId("serving").textContent = `${ready.model} version ${ready.version} serves`;
  } catch (error) {
    byId("serving").textContent = "not ready";
    if (error.status !== 503) tell(error);
  }
}

export async function open() {
  try {
    await showServing();
    const {aliases, versions} = await get(`models/${model}`);
    const state = aliases.find((each) => each.alias === alias);
    generation = state?.generation ?? 0;
    const trial = state?.candidate ? `, version ${state.candidate} is on trial as a ${state.mode}` + (state.share ? ` (${100 * state.share} %)` : "") : "";
    byId("alias").textContent = state ? `${alias} means version ${state.version} since ${new Date(state.since).toLocaleString()} (${state.reason})${trial}` : "Nothing serves.";
    byId("versions").replaceChildren(...versions.map((version) => versionLine(version, state)));
    tell(null);
    await compare(versions);
  } catch (error) {
    byId("versions").replaceChildren(line(["The versions cannot be listed now."], 7));
    tell(error);
  }
}

function versionLine({version, manifest, verdict}, state) {
  const {metrics = {}, recipe = "", created = ""} = manifest;
  const accuracy = metrics.test_accuracy ?? metrics.validation_accuracy;
  const percent = (value) => value === undefined || value === null ? "" : `${(100 * value).toFixed(2)} %`;
  const reading = document.createElement("span");
  reading.id = `reads-${version}`;
  let last = document.createElement("button");
  last.type = "button";
  last.textContent = "Let it serve";
  last.setAttribute("aria-label", `Let version ${version} serve`);
  last.addEventListener("click", () => promote(version));
  if (state?.version === version) {
    last = document.createElement("span");
    last.className = "mark";
    last.textContent = "serves";
  }
  const row = line([String(version), created ? new Date(created).toLocaleString() : "", recipe, percent(accuracy), metrics.calibration_error?.toFixed(4) ?? "", reading, last]);
  if (verdict?.reason) row.title = verdict.reason;
  return row;
}

// Let the newest versions read what is on the paper, side by side.
async function compare(versions) {
  if (isEmpty()) return;
  const body = await content();
  for (const {version} of versions.slice(0, 8)) {
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    const response = await ask(`predict?version=${version}&model=${model}`, {method: "POST", body, headers});
    const answer = await response.json();
    byId(`reads-${version}`).textContent = `${answer.label} (${(100 * answer.confidence).toFixed(0)} %)`;
  }
}

async function confirmed(text) {
  const dialog = byId("sure");
  byId("sure-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, {once: true}));
  return dialog.returnValue === "yes";
}

async function change(text, method, path, body) {
  if (!await confirmed(text)) return;
  try {
    await send(method, path, body, {"If-Match": `"${generation}"`});
    await open();
  } catch (error) {
    tell(error);
  }
}

function promote(version) {
  return change(`Let version ${version} answer from now on?`, "PUT", `models/${model}/aliases/${alias}`, {version, reason: "chosen on the page"});
}

byId("rollback").addEventListener("click", () =>
  change("Go back to the version that served before?", "POST", `models/${model}/aliases/${alias}/rollback`, {reason: "rolled back on the page"}));
