// What is on the paper, read while it is drawn; and the right digit, pressed when the answer is wrong.

import {percent} from "./elements.js";
import {content, isEmpty, onChange, takeDrawn} from "./canvas.js";
import {ask, get, tell} from "./service.js";

const UNREADABLE = new Set(["unsupported_media_type", "invalid_image", "payload_too_large"]);  // kinds that a browser may draw
const WAIT = 120;  // milliseconds between two questions to the service while somebody draws
const [label, confidence, made, bars, corrected, seen, saw, below, decided] =
  ["label", "confidence", "made", "bars", "corrected", "seen", "saw", "below", "decided"].map((id) => document.getElementById(id));
let timer = null, asking = null, again = false, answered = null;

const rows = new Map([..."0123456789"].map((digit) => [digit, row(digit)]));

function row(digit) {
  const item = document.createElement("li"), button = document.createElement("button");
  const [name, track, fill, share] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
  button.type = "button";
  name.textContent = digit;
  track.className = "track";
  fill.className = "fill";
  share.className = "share";
  share.textContent = "–";
  track.append(fill);
  button.append(name, track, share);
  button.addEventListener("click", () => correct(digit));
  item.append(button);
  bars.append(item);
  return {button, fill, share};
}

function show(answer) {
  answered = answer;
  label.textContent = answer?.label ?? "?";
  for (const [digit, {button, fill, share}] of rows) {
    const probability = answer?.probabilities[digit] ?? 0;
    fill.style.transform = `scaleX(${probability})`;
    share.textContent = answer ? percent(probability) : "–";
    button.classList.toggle("best", digit === answer?.label);
    button.disabled = !answer;
  }
  seen.classList.toggle("empty", !answer);
  if (answer) {
    confidence.textContent = `${percent(answer.confidence)} sure`;
    saw.src = below.src = `data:image/png;base64,${answer.explanation.image}`;
    decided.src = `data:image/png;base64,${answer.explanation.saliency_image}`;
  }
}

// One question at a time: what changes meanwhile is asked about next. An empty paper needs no answer.
async function read() {
  timer = null;
  if (isEmpty()) return empty();
  if (asking) return void (again = true);
  const mine = asking = new AbortController();
  try {
    const body = await content(), started = performance.now();
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    const response = await ask("predict?explain=true", {method: "POST", body, headers, signal: mine.signal});
    const answer = await response.json();
    if (mine !== asking) return;
    show(answer);
    made.textContent = `${answer.model} version ${answer.version}, ${(performance.now() - started).toFixed(0)} ms`;
    tell(null);
  } catch (error) {
    if (mine !== asking) return;
    const takesDrawn = UNREADABLE.has(error.code) && await takeDrawn();
    if (mine !== asking) return;
    if (takesDrawn) {
      again = true;
    } else {
      show(null);
      made.textContent = "\u00a0";
      confidence.textContent = error.code === "blank_image" ? "There is nothing on it yet." : "No answer.";
      tell(error.code === "blank_image" ? null : error);
    }
  }
  asking = null;
  if (again) readSoon();
}

function empty() {
  asking?.abort();
  asking = null;
  again = false;
  show(null);
  confidence.textContent = "Nothing drawn yet.";
  made.textContent = "\u00a0";
  tell(null);
}

function readSoon() {
  again = false;
  timer ??= setTimeout(read, isEmpty() ? 0 : WAIT);
}

async function correct(digit) {
  if (!answered) return;
  try {
    const body = await content();
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    await ask(`samples?label=${digit}`, {method: "POST", body, headers});
    corrected.textContent = `Thank you: it is a ${digit}. The next training can learn from it.`;
    tell(null);
    await countSamples();
  } catch (error) {
    tell(error);
  }
}

// Count the corrections that are younger than the last training that learned from some.
export async function countSamples() {
  try {
    const {count, model, samples} = await get("samples?limit=1000");
    const {versions} = await get(`models/${model}`);
    const last = versions.map(({manifest}) => manifest).find(({data}) => data?.extra);
    const begun = last ? Date.parse(last.created) - 1000 * last.metrics.seconds : 0;
    const waiting = last ? samples.filter(({since}) => Date.parse(since) > begun).length : count;
    document.getElementById("waiting").textContent = `${waiting.toLocaleString()} correction${waiting === 1 ? " waits" : "s wait"}`;
  } catch {
    // Without a key for it the counter stays; reading goes on.
  }
}

onChange(() => {
  corrected.textContent = "Wrong? Press the right digit.";
  readSoon();
});
show(null);
