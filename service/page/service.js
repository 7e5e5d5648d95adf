// Requests to the service, and what to say when one fails.

let key = "";

export class Failure extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

const ADVICE = {
  401: "This needs a key. Enter one above.",
  403: "The key is not for this. Enter another one above.",
  413: "The picture is too large. Send a smaller one.",
  415: "That is no picture of a kind that can be read: use PNG, JPEG, BMP, GIF or WEBP.",
  429: "So many trainings wait already that no more are taken. Try again when one has ended.",
  503: "The service is busy or starting. Try again in a moment.",
};

// Resolves with the response; rejects with a Failure whose message is for people.
export async function ask(path, options = {}) {
  const headers = {...options.headers};
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "away", "The service cannot be reached. Is it running?");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 || problem.code === "forbidden") askForKey();
  const detail = problem.detail ? `${problem.detail[0].toUpperCase()}${problem.detail.slice(1)}.` : "Something went wrong.";
  throw new Failure(response.status, problem.code, (problem.code !== "cross_origin" && ADVICE[response.status]) || detail);
}

export async function get(path) {
  return (await ask(path)).json();
}

export async function send(method, path, body, headers = {}) {
  const response = await ask(path, {method, body: JSON.stringify(body), headers: {"Content-Type": "application/json", ...headers}});
  return response.json();
}

// Yields {event, data} of server-sent events; unlike EventSource it can show a key. Reconnects where it was.
export async function* events(path, signal) {
  let last = "", ended = false;
  while (!ended) {
    try {
      const response = await ask(path, {signal, headers: last ? {"Last-Event-ID": last} : {}});
      let text = "";
      for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
        text += piece;
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

async function* pieces(stream) {
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

const notice = document.getElementById("notice");

export function tell(error) {
  if (error?.name === "AbortError") return;
  notice.textContent = error ? error.message : "";
  notice.hidden = !error;
}

const keyForm = document.getElementById("key-form");

function askForKey() {
  keyForm.hidden = false;
}

export function onKey(changed) {
  keyForm.addEventListener("submit", (event) => {
    event.preventDefault();
    key = document.getElementById("key").value.trim();
    document.getElementById("key").value = "";
    keyForm.hidden = true;
    tell(null);
    changed();
  });
}
