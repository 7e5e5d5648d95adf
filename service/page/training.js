// Training jobs: start, watch, cancel and list them.

import {drawChart} from "./charts.js";
import {button, byId, tableRow, formatTime, setOptions, percent} from "./elements.js";
import {request, events, get, send, showError} from "./service.js";

const FINAL = new Set(["succeeded", "failed", "cancelled", "rejected"]);
let recipes = {}, watched = null, controller = new AbortController();

export async function open() {
  try {
    if (!byId("recipe").options.length) await listRecipes();
    const [newest] = await listJobs();
    showError(null);
    if (newest && !watched) watch(newest.id);
  } catch (error) {
    byId("jobs").replaceChildren(tableRow(["The jobs cannot be loaded."], 5));
    showError(error);
  }
}

export function selectCorrections() {
  byId("samples").checked = true;
  if (recipes.corrections) byId("recipe").value = "corrections";
  describe();
}

async function listRecipes() {
  const [available, {datasets}] = await Promise.all([get("train/recipes"), get("train/datasets?limit=1000")]);
  recipes = available;
  setOptions(byId("recipe"), Object.keys(recipes).map((name) => [name, name]), "starter");
  setOptions(byId("dataset"), [["", "the recipe's own"], ...datasets.map((name) => [name, name])], "");
  describe();
}

function describe() {
  // The gate would reject the starter recipe next to a bundled model.
  byId("promote").value = byId("recipe").value === "starter" ? "never" : "if_better";
  byId("recipe-text").textContent = recipes[byId("recipe").value]?.description ?? "\u00a0";
}

async function listJobs() {
  const {jobs} = await get("train?limit=200");
  byId("jobs").replaceChildren(...(jobs.length ? jobs.map(jobRow) : [tableRow(["No jobs yet."], 5)]));
  return jobs;
}

function jobRow(job) {
  const created = button(formatTime(job.created), `Show the job of ${formatTime(job.created)}`, () => watch(job.id));
  const version = job.version === null ? "–" : `${job.version}${job.promoted ? " (promoted)" : ""}`;
  return tableRow([created, job.request.recipe, job.state, version, job.detail ?? "–"]);
}

function showJob(job) {
  const epochs = job.epochs ?? "?";
  const parts = [`${job.state}, epoch ${job.epoch} of ${epochs}`];
  if (job.current && !FINAL.has(job.state)) {
    parts.push(`${Math.round(job.current.images_per_second).toLocaleString()} images/s`, remaining(job.current.seconds_left));
  }
  if (job.version !== null) parts.push(`version ${job.version}${job.promoted ? " was promoted" : " was not promoted"}`);
  if (job.detail) parts.push(job.detail);
  byId("job-title").textContent = `${job.request.recipe}, ${new Date(job.created).toLocaleTimeString()}`;
  byId("job-state").textContent = parts.join(" · ");
  const fraction = job.current && !FINAL.has(job.state) ? job.current.step / job.current.steps : 0;
  byId("job-progress").value = job.epochs ? Math.min(1, (job.epoch + fraction) / job.epochs) : 0;
  byId("cancel").hidden = FINAL.has(job.state);
  byId("log").textContent = job.log.join("\n");
  const column = (name) => job.history.map((epoch) => epoch[name]);
  drawChart(byId("losses"), {training: column("train_loss"), validation: column("validation_loss")}, (value) => value.toFixed(3));
  drawChart(byId("accuracies"), {training: column("train_accuracy"), validation: column("validation_accuracy")}, percent);
}

function remaining(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.round(seconds / 60)} min left`;
}

export async function watch(id) {
  watched = id;
  controller.abort();
  controller = new AbortController();
  const {signal} = controller;
  byId("cancel").onclick = () => request(`train/${id}`, {method: "DELETE"}).then(() => showError(null), showError);
  try {
    showJob(await get(`train/${id}`));
    for await (const {event} of events(`train/${id}/events`, signal)) {
      if (event !== "log") showJob(await get(`train/${id}`));
    }
    showJob(await get(`train/${id}`));
    await listJobs();
  } catch (error) {
    showError(error);
  }
}

byId("recipe").addEventListener("change", describe);
byId("train-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = {recipe: byId("recipe").value, promote: byId("promote").value, include_samples: byId("samples").checked};
  if (byId("dataset").value) body.dataset = byId("dataset").value;
  body.settings = {};
  for (const name of ["epochs", "learning_rate"]) if (byId(name).value) body.settings[name] = Number(byId(name).value);
  try {
    const job = await send("POST", "train", body);
    showError(null);
    await listJobs();
    watch(job.id);
  } catch (error) {
    showError(error);
  }
});
