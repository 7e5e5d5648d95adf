// The versions of a model: metrics, predictions of the drawing, promotion and rollback.

import {button, byId, confirm, element, tableRow, formatTime, setOptions, percent, formatSize} from "./elements.js";
import {evaluateVersion, showEvaluation} from "./evaluation.js";
import {content, isEmpty} from "./canvas.js";
import {request, get, send, showError} from "./service.js";
import {watch} from "./training.js";
import {showCandidate} from "./candidate.js";

const MAX_COMPARED = 8;
let servingModel = "mnist", model = servingModel, alias = "production", generation = 0, listed = [], next = null;

export async function showServing() {
  try {
    const ready = await get("health/ready");
    [servingModel, alias] = [ready.model, ready.alias];
    byId("serving").textContent = `${ready.model} version ${ready.version} serves`;
  } catch (error) {
    byId("serving").textContent = "not ready";
    if (error.status !== 503) showError(error);
  }
}

export async function open() {
  try {
    await showServing();
    setOptions(byId("model"), (await modelNames()).map((name) => [name, name]), servingModel);
    model = byId("model").value;
    const page = await get(`models/${model}`);
    byId("alias").replaceChildren(...(page.aliases.length ? page.aliases.map(aliasItem) : [element("li", {}, "There is no alias.")]));
    byId("versions").replaceChildren();
    listed = [];
    const appended = append(page);
    showError(null);
    await Promise.all([predictDrawing(listed), appended]);
  } catch (error) {
    byId("versions").replaceChildren(tableRow(["The versions cannot be loaded."], 9));
    showError(error);
  }
}

async function modelNames() {
  const names = [];
  for (let after = ""; after !== null;) {
    const page = await get(`models?versions=1&limit=100${after && `&after=${after}`}`);
    names.push(...page.models.map((each) => each.model));
    after = page.next;
  }
  return names;
}

// Appends a page of versions to the table.
function append({aliases, versions, next: cursor}) {
  const state = aliases.find((each) => each.alias === alias);
  generation = state?.generation ?? 0;
  byId("versions").append(...versions.map((version) => versionRow(version, state)));
  listed = [...listed, ...versions];
  next = cursor;
  byId("older").hidden = cursor === null;
  return Promise.all([showCandidate(model, state, listed, open), showEvaluation(model, listed, state?.version)]);
}

async function loadOlder() {
  byId("older").hidden = true;  // until the request is complete
  try {
    await append(await get(`models/${model}?after=${next}`));
  } catch (error) {
    byId("older").hidden = false;
    showError(error);
  }
}

function aliasItem({alias: name, version, since, reason}) {
  return element("li", {}, element("strong", {}, name), ` points to version ${version} since ${formatTime(since)}: ${reason}`);
}

function versionRow({version, manifest, verdict: decision, weights_bytes: bytes}, state) {
  const {metrics = {}, recipe = "–", created, job_id: job} = manifest;
  const row = tableRow([
    button(String(version), `Evaluate version ${version}`, () => evaluateVersion(version)),
    formatTime(created), recipe, percent(metrics.test_accuracy ?? metrics.validation_accuracy, 2),
    metrics.calibration_error?.toFixed(4) ?? "–", formatSize(bytes), jobLink(job), element("span", {id: `prediction-${version}`}, "–"), role(version, state),
  ]);
  if (decision?.reason) row.title = decision.reason;
  return row;
}

function jobLink(job) {
  if (!job) return "–";
  if (job.startsWith("release-")) return "bundled";
  const link = element("a", {href: "#train"}, job.slice(0, 12));
  link.addEventListener("click", () => watch(job));
  return link;
}

function role(version, state) {
  const mark = (text) => element("span", {className: "mark"}, text);
  if (state?.version === version) return mark("serves");
  const promoteButton = button("Promote", `Promote version ${version}`, () => promote(version));
  if (state?.candidate !== version) return promoteButton;
  return element("span", {className: "both"}, mark(`${state.mode} ${percent(state.share, 0)}`), promoteButton);
}

// Predicts the drawing with the newest versions.
async function predictDrawing(versions) {
  if (isEmpty()) return;
  const body = await content(), headers = {"Content-Type": body.type || "application/octet-stream"};
  for (const {version} of versions.slice(0, MAX_COMPARED)) {
    const response = await request(`predict?version=${version}&model=${model}`, {method: "POST", body, headers});
    const {label, confidence} = await response.json();
    byId(`prediction-${version}`).textContent = `${label} (${percent(confidence, 0)})`;
  }
}

async function change(question, method, path, body) {
  if (!await confirm(question)) return;
  try {
    await send(method, path, body, {"If-Match": `"${generation}"`});
    await open();
  } catch (error) {
    showError(error);
  }
}

function promote(version) {
  return change(`Promote version ${version}?`, "PUT", `models/${model}/aliases/${alias}`, {version, reason: "promoted on the page"});
}

byId("rollback").addEventListener("click", () =>
  change("Roll back to the previous version?", "POST", `models/${model}/aliases/${alias}/rollback`, {reason: "rolled back on the page"}));
byId("older").addEventListener("click", loadOlder);
byId("model").addEventListener("change", open);
