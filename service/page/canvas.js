// The drawing area: strokes of mouse, finger or pen, or a picture instead of them.

const canvas = document.getElementById("paper");
const [LARGE_BYTES, LONG_SIDE] = [1e6, 1600];
const context = canvas.getContext("2d");
let strokes = [];
let picture = null;
let isShown = false;  // whether the browser could draw the picture
let changed = () => {};

export function onChange(callback) {
  changed = callback;
}

export function isEmpty() {
  return !picture && strokes.length === 0;
}

// Resolves with what there is to read: the picture as it was given, or the drawing as PNG.
export function content() {
  return picture ? Promise.resolve(picture) : drawn();
}

function drawn() {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Takes what the canvas shows instead of the picture's file, which the service could not read; tells whether it did.
export async function takeDrawn() {
  const file = picture;
  if (!file || !isShown) return false;
  const png = await drawn();
  if (picture !== file) return false;
  [picture, isShown] = [png, false];
  return true;
}

export async function show(file) {
  location.hash = "read";
  strokes = [];
  [picture, isShown] = [file, false];
  blank();
  try {
    const bitmap = await createImageBitmap(file);
    if (picture !== file) return;  // another one was chosen, or somebody draws
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    isShown = true;
    if (file.size > LARGE_BYTES || Math.max(bitmap.width, bitmap.height) > LONG_SIDE) {
      const small = await reduced(bitmap);
      if (picture !== file) return;
      picture = small;
    }
  } catch {
    // Not a picture for this browser; the service says what it makes of it.
  }
  changed();
}

// Cameras give more than the service takes, and more than a digit needs.
async function reduced(bitmap) {
  const scale = Math.min(1, LONG_SIDE / Math.max(bitmap.width, bitmap.height));
  const small = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  small.getContext("2d").drawImage(bitmap, 0, 0, small.width, small.height);
  return small.convertToBlob({type: "image/jpeg", quality: 0.9});
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
for (const id of ["picture", "camera"]) {
  document.getElementById(id).addEventListener("change", (event) => {
    if (event.target.files[0]) show(event.target.files[0]);
    event.target.value = "";
  });
}
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
