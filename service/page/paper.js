// The drawing area: strokes of mouse, finger or pen, or a picture instead of them.

const canvas = document.getElementById("paper");
const context = canvas.getContext("2d");
let strokes = [];
let picture = null;
let changed = () => {};

export function onChange(callback) {
  changed = callback;
}

export function isEmpty() {
  return !picture && strokes.length === 0;
}

// Resolves with what there is to read: the picture as it was given, or the drawing as PNG.
export function content() {
  return picture ? Promise.resolve(picture) : new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export async function show(file) {
  strokes = [];
  picture = file;
  blank();
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  } catch {
    // Not a picture for this browser; the service says what it makes of it.
  }
  changed();
}

function blank() {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function redraw() {
  blank();
  context.strokeStyle = context.fillStyle = "#000";
  context.lineCap = context.lineJoin = "round";
  for (const {points, width} of strokes) {
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
}

function clear() {
  strokes = [];
  picture = null;
  redraw();
  changed();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  picture = null;
  strokes.push({points: [place(event)], width: Number(document.getElementById("width").value)});
  redraw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).points.push(place(each));
  redraw();
  changed();
});
canvas.addEventListener("pointerup", () => changed());
document.getElementById("clear").addEventListener("click", clear);
document.getElementById("undo").addEventListener("click", () => {
  if (picture) return clear();
  strokes.pop();
  redraw();
  changed();
});
document.getElementById("picture").addEventListener("change", (event) => {
  if (event.target.files[0]) show(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files][0];
  if (file) show(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
});
redraw();
