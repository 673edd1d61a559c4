// Requests to the server of this page. An error is the server's own sentence.
import { $, Store } from "./dom.js";

export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let signingIn = null;

function signIn() {
  if (signingIn) return signingIn;
  signingIn = new Promise((done) => {
    $("key-dialog").showModal();
    $("key-form").onsubmit = async (event) => {
      event.preventDefault();
      const answer = await fetch("/v1/session", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key: $("key").value }),
      });
      if (!answer.ok) { $("key-state").textContent = "That is not the key."; return; }
      $("key").value = "";
      $("key-dialog").close();
      signingIn = null;
      done();
    };
  });
  return signingIn;
}

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ApiError(0, "The server does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    await signIn();
    return send(path, options);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, body.error || `The server answered ${answer.status}.`, Number(answer.headers.get("Retry-After")) || 0);
}

export const getJson = async (path) => (await send(path, {})).json();

export async function sendJson(method, path, value) {
  const answer = await send(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
  return answer.status === 204 ? null : answer.json();
}

export const postForm = async (path, form) => (await send(path, { method: "POST", body: form })).json();
export const post = async (path) => (await send(path, { method: "POST" })).json();

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// One image; waits and tries again where the server has too much to do.
export async function inspectImage(product, blob, name) {
  const path = `/v1/detectors/${product}/images?name=${encodeURIComponent(name || "")}`;
  const type = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
  for (;;) {
    try {
      const answer = await send(path, { method: "POST", headers: { "Content-Type": type }, body: blob });
      return (await answer.json()).results[0];
    } catch (error) {
      if (error.status !== 429) throw error;
      await pause(1000 * (error.retryAfter || 1));
    }
  }
}

// Asks for a job until it is done; `progress` takes its share.
export async function untilDone(job, progress) {
  while (job.state === "waiting" || job.state === "running") {
    progress(job.total ? job.done / job.total : 0);
    await pause(300);
    job = await getJson(`/v1/jobs/${job.id}`);
  }
  if (job.state === "failed") throw new ApiError(422, job.error);
  progress(1);
  return job.result;
}

export const person = () => Store.get("person") || "";
