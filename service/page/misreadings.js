// What a version misreads, alone or beside another one: confusions, pictures, and how both read the drawing.

import {byId, element, offer, percent} from "./elements.js";
import {content, isEmpty} from "./canvas.js";
import {ask} from "./service.js";

let model = "", asked = 0;

export function offerVersions(name, versions, serving) {
  model = name;
  const known = new Set([...versions.map(({version}) => version), ...(serving ? [serving] : [])]);
  const numbers = [...known].map((version) => [version, `version ${version}`]);
  offer(byId("looked-version"), numbers, serving ?? numbers[0]?.[0]);
  offer(byId("looked-other"), [["", "no other"], ...numbers], "");
  return look();
}

export function lookAt(version) {
  byId("looked-version").value = version;
  byId("misread-title").scrollIntoView();
  return look();
}

async function look() {
  const mine = Number(byId("looked-version").value), other = Number(byId("looked-other").value);
  const turn = ++asked, isPair = other && other !== mine;
  if (!mine) return;
  say("The held-out digits are read…");
  drawings(isPair ? [mine, other] : [mine]);
  try {
    const isWanted = () => turn === asked;
    const first = await evaluation(mine, isPair && other, isWanted), second = isPair && isWanted() ? await evaluation(other, mine, isWanted) : null;
    if (turn !== asked) return;
    say(sentence(first, second));
    byId("confusions").replaceChildren(...[first, second].filter(Boolean).map(confusions));
    byId("misread").replaceChildren(...galleries(first, second));
  } catch (error) {
    if (turn !== asked) return;
    byId("confusions").replaceChildren();
    byId("misread").replaceChildren();
    say(error.status === 404 ? "No examples are here that were held out from this version." : error.message);
  }
}

// Asks until the evaluation is worked out, or nobody wants it any more.
async function evaluation(version, against, isWanted) {
  for (;;) {
    const response = await ask(`models/${model}/versions/${version}/evaluation${against ? `?against=${against}` : ""}`);
    if (response.status !== 202 || !isWanted()) return response.json();
    say("The held-out digits are read for the first time, which may take minutes…");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    if (!isWanted()) return null;
  }
}

function say(text) {
  byId("looked-state").textContent = text;
}

function sentence(first, second) {
  const told = ({version, accuracy, misread_count, doubt}) =>
    `version ${version} reads ${percent(accuracy, 2)} right and misreads ${misread_count.toLocaleString()}` + (doubt ? ` (${doubt})` : "");
  return `Of ${first.examples.toLocaleString()} held-out digits of ${first.data}, ${[first, second].filter(Boolean).map(told).join("; ")}.`;
}

function confusions({version, labels, confusion}) {
  if (!confusion) return element("p", {}, "It has too many labels for a table.");
  const most = Math.max(1, ...confusion.flatMap((row, truth) => row.filter((_, answer) => answer !== truth)));
  const head = element("tr", {}, element("td"), ...labels.map((label) => element("th", {scope: "col"}, label)));
  const rows = confusion.map((row, truth) => element("tr", {}, element("th", {scope: "row"}, labels[truth]),
    ...row.map((count, answer) => {
      const cell = element("td", {className: answer === truth ? "right" : count ? "wrong" : "quiet"}, String(count));
      // Set by script: the policy forbids styles written into the page, not these.
      if (answer !== truth && count) cell.style.setProperty("--share", `${Math.round(10 + 30 * count / most)}%`);
      return cell;
    })));
  const caption = element("caption", {}, `Version ${version}: rows are what it is, columns what it was taken for`);
  const table = element("table", {className: "confusion"}, caption, element("thead", {}, head), element("tbody", {}, ...rows));
  const place = element("div", {className: "scroll", tabIndex: 0, role: "region"}, table);
  place.setAttribute("aria-label", `Confusions of version ${version}`);
  return place;
}

function galleries(first, second) {
  if (!second) return [gallery(`Misread by version ${first.version}`, first.misread, first.misread_count)];
  const alone = ({misread}) => misread.filter(({label, against}) => label === against);
  const both = first.misread.filter(({label, against}) => label !== against);
  return [
    gallery(`Misread by version ${first.version} alone`, alone(first), first.against.this_alone),
    gallery(`Misread by version ${second.version} alone`, alone(second), second.against.this_alone),
    gallery("Misread by both", both, first.against.both),
  ];
}

function gallery(title, misread, count) {
  const pictures = misread.map(({image, label, answer, against, confidence}) => {
    const also = against === null || against === label ? "" : `, by the other as ${against}`;
    return element("li", {title: `${percent(confidence, 0)} sure${also}`},
      element("img", {src: `data:image/png;base64,${image}`, width: 56, height: 56, alt: `${label}, read as ${answer}${also}`}),
      element("span", {ariaHidden: "true"}, `${label} → ${answer}`));
  });
  const shown = misread.length < count ? `, ${misread.length} shown` : "";
  const list = pictures.length ? element("ul", {className: "gallery"}, ...pictures) : element("p", {className: "quiet"}, "None.");
  return element("div", {}, element("h4", {}, `${title} (${count.toLocaleString()}${shown})`), list);
}

// How each of the versions reads what is on the paper.
async function drawings(versions) {
  const place = byId("looked-drawing"), turn = asked;
  if (isEmpty()) return place.replaceChildren(element("p", {className: "quiet"}, "Draw a digit first, and see here how it is read."));
  const body = await content(), headers = {"Content-Type": body.type || "application/octet-stream"};
  const read = async (version) => {
    try {
      const response = await ask(`predict?explain=true&model=${model}&version=${version}`, {method: "POST", body, headers});
      const {label, confidence, explanation} = await response.json();
      const decided = `data:image/png;base64,${explanation.saliency_image}`;
      return element("div", {className: "reading"}, element("span", {className: "label"}, label),
        element("img", {src: decided, width: 84, height: 84, alt: "What decided: red spoke for the answer, blue against it"}),
        element("span", {}, `version ${version}`, element("br"), `${percent(confidence)} sure`));
    } catch (error) {
      return element("p", {}, `version ${version}: ${error.message}`);
    }
  };
  const shown = await Promise.all(versions.map(read));
  if (turn === asked) place.replaceChildren(...shown);
}

for (const id of ["looked-version", "looked-other"]) byId(id).addEventListener("change", look);
