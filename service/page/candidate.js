// A version on trial beside the one that serves: as a shadow it reads along, as a canary it answers a share.

import {byId, confirmed, offer, percent} from "./elements.js";
import {get, send, tell} from "./service.js";

const AGAIN = 2000;  // milliseconds between looks at a trial that goes on
let model = "", alias = "", changed = () => {}, timer;

export function offerTrial(name, state, versions, onChange) {
  [model, alias, changed] = [name, state?.alias, onChange];
  const others = versions.filter(({version}) => version !== state?.version);
  offer(byId("trial-version"), others.map(({version}) => [version, `version ${version}`]));
  byId("trial-form").hidden = !state || !others.length;
  byId("trial-state").textContent = !state ? "A trial needs a version that serves beside it." : others.length ? "No version is on trial." : "There is no other version to try.";
  byId("trial-end").hidden = true;
  return state?.candidate ? show() : undefined;
}

async function show() {
  clearTimeout(timer);
  if (byId("models").hidden) return;
  try {
    const state = await get(`models/${model}/aliases/${alias}`);
    if (!state.candidate) return changed();
    byId("trial-state").textContent = told(state);
    byId("trial-end").hidden = false;
    timer = setTimeout(show, AGAIN);
  } catch (error) {
    tell(error);
  }
}

function told({candidate, mode, share, trial, trouble}) {
  const does = mode === "canary" ? `answers ${percent(share, 0)} of the requests` : `reads ${percent(share, 0)} of the requests along`;
  if (trouble) return `Version ${candidate} is not on trial: ${trouble}.`;
  const agreed = trial?.compared ? `on ${trial.compared.toLocaleString()} digits both agreed in ${percent(trial.agreement)}` : "nothing was compared yet";
  return `Version ${candidate} ${does}; ${agreed}.`;
}

async function change(question, body) {
  if (!await confirmed(question)) return;
  try {
    const {version, generation} = await get(`models/${model}/aliases/${alias}`);
    await send("PUT", `models/${model}/aliases/${alias}`, {version, ...body}, {"If-Match": `"${generation}"`});
    tell(null);
    await changed();
  } catch (error) {
    tell(error);
  }
}

byId("trial-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [candidate, mode, share] = [Number(byId("trial-version").value), byId("trial-mode").value, Number(byId("trial-share").value)];
  const does = mode === "canary" ? "answer" : "read along";
  change(`Let version ${candidate} ${does} ${mode === "canary" ? "" : "with "}${percent(share, 0)} of the requests?`, {candidate, mode, share, reason: "tried on the page"});
});
byId("trial-end").addEventListener("click", () => change("End the trial?", {reason: "trial ended on the page"}));
