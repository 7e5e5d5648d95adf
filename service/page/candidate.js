// Rollout of a candidate next to the serving version, as a shadow or as a canary.

import {byId, confirm, percent, setOptions} from "./elements.js";
import {get, send, showError} from "./service.js";

const POLL_INTERVAL = 2000;  // milliseconds
let model = "", alias = "", reload = () => {}, timer;

export function showCandidate(name, state, versions, onChange) {
  [model, alias, reload] = [name, state?.alias, onChange];
  const others = versions.filter(({version}) => version !== state?.version);
  setOptions(byId("candidate-version"), others.map(({version}) => [version, `version ${version}`]));
  byId("candidate-form").hidden = !state || !others.length;
  byId("candidate-state").textContent = !state ? "A candidate requires a serving version." : others.length ? "There is no candidate." : "There is no other version to roll out.";
  byId("candidate-stop").hidden = true;
  return state?.candidate ? poll() : undefined;
}

async function poll() {
  clearTimeout(timer);
  if (byId("models").hidden) return;
  try {
    const state = await get(`models/${model}/aliases/${alias}`);
    if (!state.candidate) return reload();
    byId("candidate-state").textContent = describe(state);
    byId("candidate-stop").hidden = false;
    timer = setTimeout(poll, POLL_INTERVAL);
  } catch (error) {
    showError(error);
  }
}

function describe({candidate, mode, share, trial: stats, trouble: error}) {
  if (error) return `Version ${candidate} cannot be rolled out: ${error}.`;
  const action = mode === "canary" ? `answers ${percent(share, 0)} of the requests` : `gets a copy of ${percent(share, 0)} of the requests`;
  const agreement = stats?.compared ? `both versions agree on ${percent(stats.agreement)} of ${stats.compared.toLocaleString()} images` : "no image has been compared yet";
  return `Version ${candidate} ${action}; ${agreement}.`;
}

async function change(question, body) {
  if (!await confirm(question)) return;
  try {
    const {version, generation} = await get(`models/${model}/aliases/${alias}`);
    await send("PUT", `models/${model}/aliases/${alias}`, {version, ...body}, {"If-Match": `"${generation}"`});
    showError(null);
    await reload();
  } catch (error) {
    showError(error);
  }
}

byId("candidate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [candidate, mode, share] = [Number(byId("candidate-version").value), byId("candidate-mode").value, Number(byId("candidate-share").value)];
  const action = mode === "canary" ? "answer" : "get a copy of";
  change(`Let version ${candidate} ${action} ${percent(share, 0)} of the requests?`, {candidate, mode, share, reason: "candidate from the page"});
});
byId("candidate-stop").addEventListener("click", () => change("Stop the rollout?", {reason: "rollout stopped on the page"}));
