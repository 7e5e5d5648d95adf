// DOM helpers: find, create and fill elements; format values.

export const byId = (id) => document.getElementById(id);

// element("p", {className: "quiet"}, "text", child, …)
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

export function button(text, label, onClick) {
  const created = element("button", {type: "button"}, text);
  if (label) created.setAttribute("aria-label", label);
  created.addEventListener("click", onClick);
  return created;
}

// A table row. A single cell can span all columns.
export function tableRow(cells, span = 1) {
  return element("tr", {}, ...cells.map((cell) => element("td", {colSpan: span}, cell)));
}

// Fills a select with [value, text] pairs. Keeps the selected value if it is still among them.
export function setOptions(select, pairs, preferred) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  const value = pairs.some(([each]) => String(each) === before) ? before : preferred;
  if (value !== undefined) select.value = value;
}

export const percent = (share, digits = 1) => share === undefined || share === null ? "–" : `${(100 * share).toFixed(digits)} %`;
export const formatTime = (text) => text ? new Date(text).toLocaleString([], {dateStyle: "medium", timeStyle: "short"}) : "–";
export const formatSize = (bytes) => bytes === null ? "–" : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

// Resolves to whether the user confirmed.
export async function confirm(question) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, {once: true}));
  return dialog.returnValue === "yes";
}
