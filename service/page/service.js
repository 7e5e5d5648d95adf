// Requests to the service, and messages for errors.

let key = "";

export class RequestError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

const ADVICE = {
  401: "This requires a key. Enter one above.",
  403: "The key does not allow this. Enter another one above.",
  413: "The image is too large. Send a smaller one.",
  415: "The image format is not supported. Use PNG, JPEG, BMP, GIF or WEBP.",
  429: "Too many jobs are queued. Try again when one has ended.",
  503: "The service is busy or starting. Try again in a moment.",
};

// Resolves to the response; rejects with a RequestError that has a message for the user.
export async function request(path, options = {}) {
  const headers = {...options.headers};
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(0, "away", "The service cannot be reached. Is it running?");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 || problem.code === "forbidden") showKeyForm();
  const detail = problem.detail ? `${problem.detail[0].toUpperCase()}${problem.detail.slice(1)}.` : "Something went wrong.";
  throw new RequestError(response.status, problem.code, (problem.code !== "cross_origin" && ADVICE[response.status]) || detail);
}

export async function get(path) {
  return (await request(path)).json();
}

export async function send(method, path, body, headers = {}) {
  const response = await request(path, {method, body: JSON.stringify(body), headers: {"Content-Type": "application/json", ...headers}});
  return response.json();
}

// Yields {event, data} of server-sent events. Unlike EventSource it can send a key. Resumes after the last event.
export async function* events(path, signal) {
  let last = "", ended = false;
  while (!ended) {
    try {
      const response = await request(path, {signal, headers: last ? {"Last-Event-ID": last} : {}});
      let text = "";
      for await (const chunk of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
        text += chunk;
        const blocks = text.split(/\r?\n\r?\n/);
        text = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: ?(.*)/s)));
          if (fields.id) last = fields.id;
          if (fields.data) yield {event: fields.event, data: JSON.parse(fields.data)};
        }
      }
      ended = true;
    } catch (error) {
      if (error.name === "AbortError" || (error.status && error.status < 500)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function* chunks(stream) {
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

const notice = document.getElementById("notice");

export function showError(error) {
  if (error?.name === "AbortError") return;
  notice.textContent = error ? error.message : "";
  notice.hidden = !error;
}

const keyForm = document.getElementById("key-form");

function showKeyForm() {
  keyForm.hidden = false;
}

export function onKey(callback) {
  keyForm.addEventListener("submit", (event) => {
    event.preventDefault();
    key = document.getElementById("key").value.trim();
    document.getElementById("key").value = "";
    keyForm.hidden = true;
    showError(null);
    callback();
  });
}
