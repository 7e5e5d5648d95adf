// Trainings: start one, watch it, cancel it, see what came of the others.

import {draw} from "./charts.js";
import {button, byId, line, moment, offer, percent} from "./elements.js";
import {ask, events, get, send, tell} from "./service.js";

const FINAL = new Set(["succeeded", "failed", "cancelled", "rejected"]);
let recipes = {}, watched = null, watching = new AbortController();

export async function open() {
  try {
    if (!byId("recipe").options.length) await listRecipes();
    const [newest] = await listJobs();
    tell(null);
    if (newest && !watched) watch(newest.id);
  } catch (error) {
    byId("jobs").replaceChildren(line(["The trainings cannot be listed now."], 5));
    tell(error);
  }
}

export function chooseCorrections() {
  byId("samples").checked = true;
  if (recipes.corrections) byId("recipe").value = "corrections";
  describe();
}

async function listRecipes() {
  const [known, {datasets}] = await Promise.all([get("train/recipes"), get("train/datasets?limit=1000")]);
  recipes = known;
  offer(byId("recipe"), Object.keys(recipes).map((name) => [name, name]), "starter");
  offer(byId("dataset"), [["", "the recipe's own"], ...datasets.map((name) => [name, name])], "");
  describe();
}

function describe() {
  // The recipe for trying things out could only be rejected beside a released model.
  byId("promote").value = byId("recipe").value === "starter" ? "never" : "if_better";
  byId("recipe-text").textContent = recipes[byId("recipe").value]?.description ?? "\u00a0";
}

async function listJobs() {
  const {jobs} = await get("train?limit=200");
  byId("jobs").replaceChildren(...(jobs.length ? jobs.map(jobLine) : [line(["No training yet."], 5)]));
  return jobs;
}

function jobLine(job) {
  const begun = button(moment(job.created), `Show the training of ${moment(job.created)}`, () => watch(job.id));
  const version = job.version === null ? "–" : `${job.version}${job.promoted ? " (took over)" : ""}`;
  return line([begun, job.request.recipe, job.state, version, job.detail ?? "–"]);
}

function showJob(job) {
  const epochs = job.epochs ?? "?";
  const parts = [`${job.state}, epoch ${job.epoch} of ${epochs}`];
  if (job.current && !FINAL.has(job.state)) {
    parts.push(`${Math.round(job.current.images_per_second).toLocaleString()} images/s`, left(job.current.seconds_left));
  }
  if (job.version !== null) parts.push(`version ${job.version}${job.promoted ? " took over" : " was kept"}`);
  if (job.detail) parts.push(job.detail);
  byId("job-title").textContent = `${job.request.recipe}, ${new Date(job.created).toLocaleTimeString()}`;
  byId("job-state").textContent = parts.join(" · ");
  const within = job.current && !FINAL.has(job.state) ? job.current.step / job.current.steps : 0;
  byId("job-progress").value = job.epochs ? Math.min(1, (job.epoch + within) / job.epochs) : 0;
  byId("cancel").hidden = FINAL.has(job.state);
  byId("log").textContent = job.log.join("\n");
  const column = (name) => job.history.map((epoch) => epoch[name]);
  draw(byId("losses"), {training: column("train_loss"), validation: column("validation_loss")}, (value) => value.toFixed(3));
  draw(byId("accuracies"), {training: column("train_accuracy"), validation: column("validation_accuracy")},  percent);
}

function left(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.round(seconds / 60)} min left`;
}

export async function watch(id) {
  watched = id;
  watching.abort();
  watching = new AbortController();
  const {signal} = watching;
  byId("cancel").onclick = () => ask(`train/${id}`, {method: "DELETE"}).then(() => tell(null), tell);
  try {
    showJob(await get(`train/${id}`));
    for await (const {event} of events(`train/${id}/events`, signal)) {
      if (event !== "log") showJob(await get(`train/${id}`));
    }
    showJob(await get(`train/${id}`));
    await listJobs();
  } catch (error) {
    tell(error);
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
    tell(null);
    await listJobs();
    watch(job.id);
  } catch (error) {
    tell(error);
  }
});
