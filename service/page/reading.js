// What is on the paper, read while it is drawn; and the right digit, pressed when the answer is wrong.

import {content, isEmpty, onChange} from "./paper.js";
import {ask, get, tell} from "./service.js";

const WAIT = 120;  // milliseconds without a stroke before the service is asked
const [label, confidence, made, bars, corrected, saw, decided] =
  ["label", "confidence", "made", "bars", "corrected", "saw", "decided"].map((id) => document.getElementById(id));
let timer, asking = new AbortController(), answered = null;

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
    share.textContent = answer ? `${(100 * probability).toFixed(1)} %` : "–";
    button.classList.toggle("best", digit === answer?.label);
    button.disabled = !answer;
  }
  saw.hidden = decided.hidden = !answer;
  if (answer) {
    confidence.textContent = `${(100 * answer.confidence).toFixed(1)} % sure`;
    saw.src = `data:image/png;base64,${answer.explanation.image}`;
    decided.src = `data:image/png;base64,${answer.explanation.saliency_image}`;
  }
  corrected.textContent = "Wrong? Press the right digit.";
}

async function read() {
  asking.abort();
  asking = new AbortController();
  if (isEmpty()) {
    show(null);
    confidence.textContent = "Nothing drawn yet.";
    made.textContent = "\u00a0";
    tell(null);
    return;
  }
  const started = performance.now();
  try {
    const body = await content();
    const headers = {"Content-Type": body.type || "application/octet-stream"};
    const response = await ask("predict?explain=true", {method: "POST", body, headers, signal: asking.signal});
    const answer = await response.json();
    show(answer);
    made.textContent = `${answer.model} version ${answer.version}, ${(performance.now() - started).toFixed(0)} ms`;
    tell(null);
  } catch (error) {
    if (error.name === "AbortError") return;
    show(null);
    confidence.textContent = error.code === "blank_image" ? "There is nothing on it yet." : "No answer.";
    tell(error.code === "blank_image" ? null : error);
  }
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

export async function countSamples() {
  try {
    const {count} = await get("samples?limit=1");
    document.getElementById("waiting").textContent = `${count} correction${count === 1 ? " waits" : "s wait"}`;
  } catch {
    // Without a key for it the counter stays; reading goes on.
  }
}

onChange(() => {
  clearTimeout(timer);
  timer = setTimeout(read, WAIT);
});
show(null);
