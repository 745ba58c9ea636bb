// Calls to /v1 under the browser's session. Every failure is an ApiError with one sentence; a 401 leads to the login page.

export class ApiError extends Error {
  constructor(message, status, code, errors) {
    super(message);
    this.status = status; // 0: the server did not answer
    this.code = code;
    this.errors = errors ?? [];
  }
}

// Nobody answered, or something that is not the server; it may answer when it is asked again.
export const isOutage = ({ status }) => status === 0 || status >= 500;

export function goToLogin() {
  if (location.pathname === "/login") return;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

export async function request(method, path, { body, headers, signal, login = true, cache = "no-store" } = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(method === "GET" ? {} : { "X-CSRF": "1" }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the server does not answer", 0, "server_unreachable");
  }
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    /* an answer of a proxy, not of ours */
  }
  if (response.ok) return answer;
  if (response.status === 401 && login) goToLogin();
  throw new ApiError(
    answer?.detail || answer?.title || `the server answered ${response.status}`,
    response.status,
    answer?.code,
    answer?.errors,
  );
}

export const get = (path, options) => request("GET", path, options);
export const post = (path, body = {}, options = {}) => request("POST", path, { body, ...options });
