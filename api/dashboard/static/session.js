// Who is logged in, asked once a page, and what that allows. The server decides; here it only hides what would be refused.

import { useEffect, useState } from "./vendor/htm-preact.js";
import { get, request } from "./api.js";

let asked = null;

export function useCaller() {
  const [caller, set] = useState(null);
  useEffect(() => {
    let gone = false;
    asked ??= get("/v1/me");
    asked
      .then((answer) => gone || set(answer))
      .catch(() => {
        asked = null;
      });
    return () => {
      gone = true;
    };
  }, []);
  return caller;
}

export const mayWrite = (caller) => caller?.scope === "admin" || caller?.scope === "submitter";

export async function logOut() {
  await request("DELETE", "/v1/sessions", { login: false }).catch(() => {});
  location.assign("/login");
}
