// Requests to our own API. An error is the sentence the server gave.

export class Refusal extends Error {}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch {
    throw new Refusal("crossdock cannot be reached now. Try again in a moment.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(body.detail ?? `The answer was ${response.status}.`);
  return body;
}

export const get = (path) => answer(path, {});

export function post(path, body = undefined) {
  const headers = { "X-Crossdock-Page": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return answer(path, { method: "POST", headers, body: body === undefined ? undefined : JSON.stringify(body) });
}
