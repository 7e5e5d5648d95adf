// Elements: found, made, and filled with what the service says.

export const byId = (id) => document.getElementById(id);

// element("p", {className: "quiet"}, "text", child, …)
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function button(text, label, pressed) {
  const made = element("button", {type: "button"}, text);
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", pressed);
  return made;
}

// A row of a table; one cell alone may span all columns.
export function line(cells, span = 1) {
  return element("tr", {}, ...cells.map((cell) => element("td", {colSpan: span}, cell)));
}

// A select with [value, text] pairs, which keeps what was chosen if it is still there.
export function offer(select, pairs, preferred) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  const wanted = pairs.some(([value]) => String(value) === before) ? before : preferred;
  if (wanted !== undefined) select.value = wanted;
}

export const percent = (share, digits = 1) => share === undefined || share === null ? "–" : `${(100 * share).toFixed(digits)} %`;
export const moment = (text) => text ? new Date(text).toLocaleString([], {dateStyle: "medium", timeStyle: "short"}) : "–";
export const size = (bytes) => bytes === null ? "–" : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

// Resolves with whether the question was answered by yes.
export async function confirmed(question) {
  const dialog = byId("sure");
  byId("sure-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, {once: true}));
  return dialog.returnValue === "yes";
}
