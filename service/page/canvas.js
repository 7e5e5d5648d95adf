// The drawing area: strokes by mouse, finger or pen, or an image file instead.

const canvas = document.getElementById("canvas");
const [MAX_BYTES, MAX_SIDE] = [1e6, 1600];
const context = canvas.getContext("2d");
let strokes = [];
let image = null;
let isDrawn = false;  // whether the browser could decode the image
let notify = () => {};

export function onChange(callback) {
  notify = callback;
}

export function isEmpty() {
  return !image && strokes.length === 0;
}

// Resolves to the image to predict: the file as it was chosen, or the drawing as PNG.
export function content() {
  return image ? Promise.resolve(image) : toPng();
}

function toPng() {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Replaces a file that the service cannot read by the content of the canvas. Resolves to whether it did.
export async function useCanvas() {
  const file = image;
  if (!file || !isDrawn) return false;
  const png = await toPng();
  if (image !== file) return false;
  [image, isDrawn] = [png, false];
  return true;
}

export async function show(file) {
  location.hash = "read";
  strokes = [];
  [image, isDrawn] = [file, false];
  fillWhite();
  try {
    const bitmap = await createImageBitmap(file);
    if (image !== file) return;  // the user has chosen another file, or is drawing
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    isDrawn = true;
    if (file.size > MAX_BYTES || Math.max(bitmap.width, bitmap.height) > MAX_SIDE) {
      const small = await shrink(bitmap);
      if (image !== file) return;
      image = small;
    }
  } catch {
    // This browser cannot decode the file; the service may, or reports an error.
  }
  notify();
}

// Photos are larger than the service accepts, and than a digit needs.
async function shrink(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const small = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  small.getContext("2d").drawImage(bitmap, 0, 0, small.width, small.height);
  return small.convertToBlob({type: "image/jpeg", quality: 0.9});
}

function fillWhite() {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function redraw() {
  fillWhite();
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
  image = null;
  redraw();
  notify();
}

function position(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  image = null;
  strokes.push({points: [position(event)], width: Number(document.getElementById("width").value)});
  redraw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).points.push(position(each));
  redraw();
  notify();
});
canvas.addEventListener("pointerup", () => notify());
document.getElementById("clear").addEventListener("click", clear);
document.getElementById("undo").addEventListener("click", () => {
  if (image) return clear();
  strokes.pop();
  redraw();
  notify();
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
