// What a frame has time for: to lay nodes out takes several times as long as to make them.
const WORK_MS = 4;
const NODES = 300;

let left = null;

/**
 * What may be done yet before the next frame, by all that grows on the page: `{ms, nodes}`, to be
 * taken off. Where the page is hidden nobody waits for one.
 */
export function share() {
  if (!left || document.hidden) {
    left = { ms: WORK_MS, nodes: NODES };
    afterFrame(() => (left = null));
  }
  return left;
}

/** Whether others have used this frame up. */
export function isFull() {
  const { ms, nodes } = share();
  return ms <= 0 || nodes <= 0;
}

/** Go on when a frame was shown; a page that is hidden shows none. */
export function afterFrame(call) {
  if (document.hidden) setTimeout(call);
  else requestAnimationFrame(() => setTimeout(call));
}
