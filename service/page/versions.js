// The versions of the model: how good each is, how each reads the drawing, and which one serves.

import {button, byId, confirmed, element, line, moment, offer, percent, size} from "./elements.js";
import {lookAt, offerVersions} from "./misreadings.js";
import {content, isEmpty} from "./canvas.js";
import {ask, get, send, tell} from "./service.js";
import {watch} from "./training.js";
import {offerTrial} from "./candidate.js";

const COMPARED = 8;
let served = "mnist", model = served, alias = "production", generation = 0, shown = [], older = null;

export async function showServing() {
  try {
    const ready = await get("health/ready");
    [served, alias] = [ready.model, ready.alias];
    byId("serving").textContent = `${ready.model} version ${ready.version} serves`;
  } catch (error) {
    byId("serving").textContent = "not ready";
    if (error.status !== 503) tell(error);
  }
}

export async function open() {
  try {
    await showServing();
    offer(byId("model"), (await modelNames()).map((name) => [name, name]), served);
    model = byId("model").value;
    const page = await get(`models/${model}`);
    byId("alias").replaceChildren(...(page.aliases.length ? page.aliases.map(meaning) : [element("li", {}, "No alias means any version.")]));
    byId("versions").replaceChildren();
    shown = [];
    const offered = show(page);
    tell(null);
    await Promise.all([compare(shown), offered]);
  } catch (error) {
    byId("versions").replaceChildren(line(["The versions cannot be listed now."], 9));
    tell(error);
  }
}

async function modelNames() {
  const names = [];
  for (let after = ""; after !== null;) {
    const {models, next} = await get(`models?versions=1&limit=100${after && `&after=${after}`}`);
    names.push(...models.map((each) => each.model));
    after = next;
  }
  return names;
}

// Show a page of versions below those that are shown.
function show({aliases, versions, next}) {
  const state = aliases.find((each) => each.alias === alias);
  generation = state?.generation ?? 0;
  byId("versions").append(...versions.map((version) => versionLine(version, state)));
  shown = [...shown, ...versions];
  older = next;
  byId("older").hidden = next === null;
  return Promise.all([offerTrial(model, state, shown, open), offerVersions(model, shown, state?.version)]);
}

async function showOlder() {
  byId("older").hidden = true;  // pressed once
  try {
    await show(await get(`models/${model}?after=${older}`));
  } catch (error) {
    byId("older").hidden = false;
    tell(error);
  }
}

function meaning({alias: name, version, since, reason}) {
  return element("li", {}, element("strong", {}, name), ` means version ${version} since ${moment(since)}: ${reason}`);
}

function versionLine({version, manifest, verdict, weights_bytes: bytes}, state) {
  const {metrics = {}, recipe = "–", created, job_id: job} = manifest;
  const row = line([
    button(String(version), `What version ${version} misreads`, () => lookAt(version)),
    moment(created), recipe, percent(metrics.test_accuracy ?? metrics.validation_accuracy, 2),
    metrics.calibration_error?.toFixed(4) ?? "–", size(bytes), origin(job), element("span", {id: `reads-${version}`}, "–"), role(version, state),
  ]);
  if (verdict?.reason) row.title = verdict.reason;
  return row;
}

function origin(job) {
  if (!job) return "–";
  if (job.startsWith("release-")) return "released";
  const link = element("a", {href: "#train"}, job.slice(0, 12));
  link.addEventListener("click", () => watch(job));
  return link;
}

function role(version, state) {
  const mark = (text) => element("span", {className: "mark"}, text);
  if (state?.version === version) return mark("serves");
  const promoting = button("Let it serve", `Let version ${version} serve`, () => promote(version));
  if (state?.candidate !== version) return promoting;
  return element("span", {className: "both"}, mark(`${state.mode} ${percent(state.share, 0)}`), promoting);
}

// Let the newest versions read what is on the paper, side by side.
async function compare(versions) {
  if (isEmpty()) return;
  const body = await content(), headers = {"Content-Type": body.type || "application/octet-stream"};
  for (const {version} of versions.slice(0, COMPARED)) {
    const response = await ask(`predict?version=${version}&model=${model}`, {method: "POST", body, headers});
    const {label, confidence} = await response.json();
    byId(`reads-${version}`).textContent = `${label} (${percent(confidence, 0)})`;
  }
}

async function change(question, method, path, body) {
  if (!await confirmed(question)) return;
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
byId("older").addEventListener("click", showOlder);
byId("model").addEventListener("change", open);
