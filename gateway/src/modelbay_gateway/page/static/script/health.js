import { seconds } from "./quantity.js";

/** What the gateway found when it last looked at a provider, in words. */
export const HEALTH = {
  ok: "online",
  stale: "not answering",
  down: "offline",
  loading: "starting",
  misconfigured: "misconfigured",
  unknown: "not asked yet",
};

/** How a provider is, in one line. */
export function healthText({ status, problem, tookS, kind }) {
  if (problem) return `${problem.message}${problem.hint ? `. Try: ${problem.hint}` : ""}`;
  return `${kind}, ${HEALTH[status]}${answeredIn({ tookS })}`;
}

/** How long its last answer took; empty if there was none. */
export function answeredIn({ tookS, problem = null }) {
  if (tookS === null || problem) return "";
  return `, answered in ${tookS < 1 ? `${Math.max(1, Math.round(tookS * 1000))} ms` : seconds(tookS)}`;
}
