/** `4.9 GB`: sizes as people say them. */
export function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** `128k` tokens. Windows are powers of two, and 131072 is 128k to everybody. */
export function tokens(count) {
  if (!count) return "";
  if (count < 1024) return String(count);
  if (count < 1024 * 1024) return `${Math.round(count / 1024)}k`;
  return `${(count / 1024 / 1024).toFixed(1).replace(/\.0$/, "")}M`;
}

/** `0.42 s`, `12 s`, `3 min 05 s`. */
export function seconds(count) {
  if (count < 10) return `${count.toFixed(count < 1 ? 2 : 1)} s`;
  if (count < 60) return `${Math.floor(count)} s`;
  return `${Math.floor(count / 60)} min ${String(Math.floor(count % 60)).padStart(2, "0")} s`;
}

/** `45 s`, `4 min`, `2 h 5 min`, `3 d`: how long something will take, no finer than one plans. */
export function duration(count) {
  if (count < 59.5) return `${Math.max(1, Math.round(count))} s`;
  const minutes = Math.round(count / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} d`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** `42%`. */
export function percent(fraction) {
  return `${Math.floor(fraction * 100)}%`;
}
