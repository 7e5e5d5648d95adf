// Evaluation of one or two versions: confusion matrices, misclassified images, and predictions of the drawing.

import {byId, element, setOptions, percent} from "./elements.js";
import {content, isEmpty} from "./canvas.js";
import {request} from "./service.js";

let model = "", current = 0;

export function showEvaluation(name, versions, serving) {
  model = name;
  const existing = new Set([...versions.map(({version}) => version), ...(serving ? [serving] : [])]);
  const numbers = [...existing].map((version) => [version, `version ${version}`]);
  setOptions(byId("evaluated-version"), numbers, serving ?? numbers[0]?.[0]);
  setOptions(byId("compared-version"), [["", "no other"], ...numbers], "");
  return evaluate();
}

export function evaluateVersion(version) {
  byId("evaluated-version").value = version;
  byId("evaluation-title").scrollIntoView();
  return evaluate();
}

async function evaluate() {
  const mine = Number(byId("evaluated-version").value), other = Number(byId("compared-version").value);
  const run = ++current, isPair = other && other !== mine;
  if (!mine) return;
  setState("Evaluating on the held-out images…");
  predictDrawing(isPair ? [mine, other] : [mine]);
  try {
    const isCurrent = () => run === current;
    const first = await load(mine, isPair && other, isCurrent), second = isPair && isCurrent() ? await load(other, mine, isCurrent) : null;
    if (run !== current) return;
    setState(summarize(first, second));
    byId("confusions").replaceChildren(...[first, second].filter(Boolean).map(confusionMatrix));
    byId("misclassified").replaceChildren(...galleries(first, second));
  } catch (error) {
    if (run !== current) return;
    byId("confusions").replaceChildren();
    byId("misclassified").replaceChildren();
    setState(error.status === 404 ? "This host has no held-out images for this version." : error.message);
  }
}

// Polls until the evaluation is complete, or another one was started.
async function load(version, against, isCurrent) {
  for (;;) {
    const response = await request(`models/${model}/versions/${version}/evaluation${against ? `?against=${against}` : ""}`);
    if (response.status !== 202 || !isCurrent()) return response.json();
    setState("The first evaluation may take minutes…");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    if (!isCurrent()) return null;
  }
}

function setState(text) {
  byId("evaluation-state").textContent = text;
}

function summarize(first, second) {
  const text = ({version, accuracy, misread_count: errors, doubt: caveat}) =>
    `version ${version} has ${percent(accuracy, 2)} accuracy and ${errors.toLocaleString()} errors` + (caveat ? ` (${caveat})` : "");
  return `On ${first.examples.toLocaleString()} held-out images of ${first.data}, ${[first, second].filter(Boolean).map(text).join("; ")}.`;
}

function confusionMatrix({version, labels, confusion}) {
  if (!confusion) return element("p", {}, "It has too many labels for a table.");
  const maximum = Math.max(1, ...confusion.flatMap((row, truth) => row.filter((_, predicted) => predicted !== truth)));
  const head = element("tr", {}, element("td"), ...labels.map((label) => element("th", {scope: "col"}, label)));
  const rows = confusion.map((row, truth) => element("tr", {}, element("th", {scope: "row"}, labels[truth]),
    ...row.map((count, predicted) => {
      const cell = element("td", {className: predicted === truth ? "right" : count ? "wrong" : "quiet"}, String(count));
      // Set by script, which the content security policy allows, unlike inline styles.
      if (predicted !== truth && count) cell.style.setProperty("--share", `${Math.round(10 + 30 * count / maximum)}%`);
      return cell;
    })));
  const caption = element("caption", {}, `Version ${version}: rows are true labels, columns predicted labels`);
  const table = element("table", {className: "confusion"}, caption, element("thead", {}, head), element("tbody", {}, ...rows));
  const region = element("div", {className: "scroll", tabIndex: 0, role: "region"}, table);
  region.setAttribute("aria-label", `Confusion matrix of version ${version}`);
  return region;
}

function galleries(first, second) {
  if (!second) return [gallery(`Misclassified by version ${first.version}`, first.misread, first.misread_count)];
  const single = ({misread: images}) => images.filter(({label, against}) => label === against);
  const both = first.misread.filter(({label, against}) => label !== against);
  return [
    gallery(`Misclassified only by version ${first.version}`, single(first), first.against.this_alone),
    gallery(`Misclassified only by version ${second.version}`, single(second), second.against.this_alone),
    gallery("Misclassified by both", both, first.against.both),
  ];
}

function gallery(title, images, count) {
  const items = images.map(({image, label, answer: predicted, against, confidence}) => {
    const also = against === null || against === label ? "" : `, ${against} by the other version`;
    return element("li", {title: `${percent(confidence, 0)} confidence${also}`},
      element("img", {src: `data:image/png;base64,${image}`, width: 56, height: 56, alt: `${label}, predicted as ${predicted}${also}`}),
      element("span", {ariaHidden: "true"}, `${label} → ${predicted}`));
  });
  const note = images.length < count ? `, ${images.length} displayed` : "";
  const list = items.length ? element("ul", {className: "gallery"}, ...items) : element("p", {className: "quiet"}, "None.");
  return element("div", {}, element("h4", {}, `${title} (${count.toLocaleString()}${note})`), list);
}

// Predicts the drawing with each of the versions.
async function predictDrawing(versions) {
  const target = byId("drawing-predictions"), run = current;
  if (isEmpty()) return target.replaceChildren(element("p", {className: "quiet"}, "Draw a digit to compare predictions."));
  const body = await content(), headers = {"Content-Type": body.type || "application/octet-stream"};
  const predict = async (version) => {
    try {
      const response = await request(`predict?explain=true&model=${model}&version=${version}`, {method: "POST", body, headers});
      const {label, confidence, explanation} = await response.json();
      const saliency = `data:image/png;base64,${explanation.saliency_image}`;
      return element("div", {className: "prediction"}, element("span", {className: "label"}, label),
        element("img", {src: saliency, width: 84, height: 84, alt: "Saliency map: red pixels support the prediction, blue pixels oppose it"}),
        element("span", {}, `version ${version}`, element("br"), `${percent(confidence)} confidence`));
    } catch (error) {
      return element("p", {}, `version ${version}: ${error.message}`);
    }
  };
  const predictions = await Promise.all(versions.map(predict));
  if (run === current) target.replaceChildren(...predictions);
}

for (const id of ["evaluated-version", "compared-version"]) byId(id).addEventListener("change", evaluate);
