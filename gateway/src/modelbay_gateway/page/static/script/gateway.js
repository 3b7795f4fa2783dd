import { Failure } from "./failure.js";
import { askForKey, key } from "./key.js";
import { eventsOf } from "./sse.js";

/**
 * One request to the gateway that this page came from.
 *
 * @returns {Promise<Response>} an answer that is a success
 * @throws {Failure}
 */
export async function request(path, { method = "GET", body, signal, headers = {} } = {}) {
  for (;;) {
    const used = key();
    const sent = { accept: "application/json", ...headers };
    if (used) sent.authorization = `Bearer ${used}`;
    if (body !== undefined) sent["content-type"] = "application/json";
    const response = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
    });
    if (response.ok) return response;
    const document = await response.json().catch(() => ({}));
    const failure = Failure.of(document.error ?? { message: response.statusText }, response.status);
    if (response.status !== 401 || !(await askForKey(failure, used))) throw failure;
  }
}

/** The JSON that answers. */
export async function json(path, options) {
  return (await request(path, options)).json();
}

/** The JSON documents of a stream of events; one that says `error` is thrown. */
export async function* documents(path, options) {
  for await (const { data } of eventsOf(await request(path, options))) {
    if (data === undefined) continue;
    const document = JSON.parse(data);
    if (document.type === "error") throw Failure.of(document.error);
    yield document;
  }
}
