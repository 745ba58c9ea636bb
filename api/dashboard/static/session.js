// Who is logged in, asked until there is an answer, and what that allows. The server decides; here it only hides what would be refused.

import { useEffect, useState } from "./vendor/htm-preact.js";
import { get, isOutage, request } from "./api.js";

const RETRY_INTERVAL = 1_500;

let asked = null; // one question for all who want to know

async function askUntilAnswered() {
  for (;;) {
    try {
      return await get("/v1/me");
    } catch (error) {
      if (!isOutage(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL));
    }
  }
}

export function useCaller() {
  const [caller, set] = useState(null);
  useEffect(() => {
    let gone = false;
    asked ??= askUntilAnswered();
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
