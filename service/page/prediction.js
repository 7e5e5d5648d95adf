// Predicts the drawing while it is drawn, and sends corrections.

import {percent} from "./elements.js";
import {content, isEmpty, onChange, useCanvas} from "./canvas.js";
import {request, get, showError} from "./service.js";

const UNREADABLE = new Set(["unsupported_media_type", "invalid_image", "payload_too_large"]);  // the browser may still decode it
const REQUEST_INTERVAL = 120;  // milliseconds between predictions while the user draws
const [label, confidence, source, bars, feedback, explanation, input, underlay, saliency] =
  ["label", "confidence", "source", "bars", "feedback", "explanation", "input", "underlay", "saliency"].map((id) => document.getElementById(id));
let timer = null, pending = null, isOutdated = false, prediction = null;

const rows = new Map([..."0123456789"].map((digit) => [digit, createRow(digit)]));

function createRow(digit) {
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

function show(result) {
  prediction = result;
  label.textContent = result?.label ?? "?";
  for (const [digit, {button, fill, share}] of rows) {
    const probability = result?.probabilities[digit] ?? 0;
    fill.style.transform = `scaleX(${probability})`;
    share.textContent = result ? percent(probability) : "–";
    button.classList.toggle("best", digit === result?.label);
    button.disabled = !result;
  }
  explanation.classList.toggle("empty", !result);
  if (result) {
    confidence.textContent = `${percent(result.confidence)} confidence`;
    input.src = underlay.src = `data:image/png;base64,${result.explanation.image}`;
    saliency.src = `data:image/png;base64,${result.explanation.saliency_image}`;
  }
}

// One request at a time; changes during a request start another one. An empty canvas needs none.
async function predict() {
  timer = null;
  if (isEmpty()) return reset();
  if (pending) return void (isOutdated = true);
  const controller = pending = new AbortController();
  try {
    const body = await content(), started = performance.now();
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    const response = await request("predict?explain=true", {method: "POST", body, headers, signal: controller.signal});
    const result = await response.json();
    if (controller !== pending) return;
    show(result);
    source.textContent = `${result.model} version ${result.version}, ${(performance.now() - started).toFixed(0)} ms`;
    showError(null);
  } catch (error) {
    if (controller !== pending) return;
    const usesCanvas = UNREADABLE.has(error.code) && await useCanvas();
    if (controller !== pending) return;
    if (usesCanvas) {
      isOutdated = true;
    } else {
      show(null);
      source.textContent = "\u00a0";
      confidence.textContent = error.code === "blank_image" ? "The canvas is empty." : "No prediction.";
      showError(error.code === "blank_image" ? null : error);
    }
  }
  pending = null;
  if (isOutdated) schedule();
}

function reset() {
  pending?.abort();
  pending = null;
  isOutdated = false;
  show(null);
  confidence.textContent = "Nothing drawn yet.";
  source.textContent = "\u00a0";
  showError(null);
}

function schedule() {
  isOutdated = false;
  timer ??= setTimeout(predict, isEmpty() ? 0 : REQUEST_INTERVAL);
}

async function correct(digit) {
  if (!prediction) return;
  try {
    const body = await content();
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    await request(`samples?label=${digit}`, {method: "POST", body, headers});
    feedback.textContent = `Saved: it is a ${digit}. The next training can learn from it.`;
    showError(null);
    await countSamples();
  } catch (error) {
    showError(error);
  }
}

// Counts the corrections that are newer than the last training on corrections.
export async function countSamples() {
  try {
    const {count, model, samples} = await get("samples?limit=1000");
    const {versions} = await get(`models/${model}`);
    const last = versions.map(({manifest}) => manifest).find(({data}) => data?.extra);
    const started = last ? Date.parse(last.created) - 1000 * last.metrics.seconds : 0;
    const added = last ? samples.filter(({since}) => Date.parse(since) > started).length : count;
    document.getElementById("new-samples").textContent = `${added.toLocaleString()} new correction${added === 1 ? "" : "s"}`;
  } catch {
    // Without a key for samples the counter does not change; predictions still work.
  }
}

onChange(() => {
  feedback.textContent = "Wrong? Press the correct digit.";
  schedule();
});
show(null);
