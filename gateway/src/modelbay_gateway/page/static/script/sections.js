import { fitsAll } from "./fuzzy.js";

const FAVOURITES = "favourites";

/**
 * What the picker lists, in order: favourites, then a section per provider in the configured order.
 *
 * A favourite stands in its provider's section too. One that is offline is hidden, and counted.
 *
 * @param {object} shown what is typed, whether hidden ones are revealed, and what an opened server
 *   told, by its provider's id
 * @returns {object[]} items `{key, type, ...}`; type is `section`, `server`, `model` or `hidden`
 */
export function sections(catalogue, favourites, { typed = "", revealed = false, told = () => null } = {}) {
  const wanted = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return [...favourite(catalogue, favourites, wanted, revealed), ...ofProviders(catalogue, wanted, told)];
}

function favourite(catalogue, favourites, wanted, revealed) {
  const items = [];
  let offline = 0;
  for (const id of favourites.ids) {
    const isOnline = catalogue.isOnline(id);
    const fit = fitsAll(wanted, catalogue.model(id)?.searched ?? id.toLowerCase());
    if (!fit) continue;
    if (!isOnline) offline += 1;
    if (!isOnline && !revealed) continue;
    const model = catalogue.model(id) ?? missing(id);
    items.push({ key: `${FAVOURITES} ${id}`, type: "model", model, isFavourite: true, isOnline, at: fit.at });
  }
  if (!items.length && !offline) return [];
  const head = { key: FAVOURITES, type: "section", label: "Favourites", provider: null, count: items.length };
  const hidden = { key: "hidden", type: "hidden", offline, revealed };
  return [head, ...items, ...(offline && catalogue.isRead ? [hidden] : [])];
}

function ofProviders(catalogue, wanted, told) {
  return catalogue.providers.flatMap((provider) => {
    const found = [];
    for (const model of provider.models) {
      const fit = fitsAll(wanted, model.searched);
      if (fit) found.push({ model, ...fit });
    }
    if (wanted.length && !found.length) return [];
    if (wanted.length) found.sort((a, b) => b.score - a.score);
    const isOnline = provider.status !== "down" && provider.status !== "misconfigured";
    const head = { key: `at ${provider.id}`, type: "section", label: provider.label, provider, count: found.length };
    const server = told(provider.id) && { key: `about ${provider.id}`, type: "server", provider, isMeasured: true };
    const rows = found.map(({ model, at }) => ({ key: model.id, type: "model", model, isOnline, at }));
    return server ? [head, server, ...rows] : [head, ...rows];
  });
}

function missing(id) {
  const slash = id.indexOf("/");
  return {
    id,
    providerId: id.slice(0, Math.max(slash, 0)),
    wireId: id.slice(slash + 1),
    name: id,
    state: "unknown",
    badges: [],
    isMissing: true,
  };
}
