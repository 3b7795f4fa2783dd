import { Access } from "./access.js";
import { Catalogue } from "./catalogue.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Conversations } from "./conversations.js";
import { Drawer } from "./drawer.js";
import { Favourites } from "./favourites.js";
import { changeKey, keys } from "./key.js";
import { complain, retract, tell } from "./notice.js";
import { Picker } from "./picker.js";
import { Servers } from "./servers.js";
import { askSettings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { startTheme } from "./theme.js";
import { Thread } from "./thread.js";
import { startTips } from "./tip.js";
import { Work } from "./work.js";

const at = (id) => document.getElementById(id);

const access = new Access();
const catalogue = new Catalogue();
const favourites = new Favourites();
const conversations = new Conversations(access);
const work = new Work();
const servers = new Servers({ access, catalogue });
const picker = new Picker(at("picker"), { access, catalogue, favourites, servers, work });
const sidebar = new Sidebar(conversations);
const composer = new Composer(at("composer"));
const thread = new Thread(at("thread"));
const chat = new Chat({ conversations, catalogue, composer, thread });
const left = new Drawer(at("conversations"), at("open-conversations"), "(min-width: 60rem)");
const right = new Drawer(at("picker"), at("current-model"), "(min-width: 82rem)");
let away = null; // why the gateway did not answer

/** Do it, and say so if it fails. */
const attempt = (doing) => doing().catch(complain);

startTheme(at("theme"));
startTips();
// Notices stand above where one writes, however much is attached there.
new ResizeObserver(([{ target }]) => document.documentElement.style.setProperty("--composer", `${target.offsetHeight}px`)).observe(at("composer"));
at("open-conversations").addEventListener("click", () => left.open());
at("current-model").addEventListener("click", () => right.open());
at("use-default").addEventListener("click", () => attempt(() => chat.setModel(isGone() ? chat.model.fallback : null)));
at("open-settings").addEventListener("click", () =>
  attempt(async () => {
    const settings = await askSettings(chat.settings);
    if (settings) await chat.setSettings(settings);
  }),
);

picker.addEventListener("choose", ({ id }) => {
  if (access.can("chat")) right.close();
  if (access.can("chat")) attempt(() => chat.setModel(id));
  else tell(sentence(access.reason("chat")));
});
for (const what of ["once", "beside"]) {
  picker.addEventListener(what, ({ id }) => {
    right.close();
    chat.choose(what, id);
    composer.focus();
  });
}

sidebar.addEventListener("new", () => {
  left.close();
  if (wanted()) location.hash = "";
  else attempt(() => chat.begin());
  composer.focus();
});
sidebar.addEventListener("open", ({ id }) => {
  left.close();
  location.hash = `/c/${encodeURIComponent(id)}`;
});

chat.addEventListener("model", showModel);
catalogue.addEventListener("change", () => attempt(() => chat.renewModel()));
chat.addEventListener("moved", () => {
  const isListed = conversations.items.some((each) => each.id === chat.id);
  sidebar.current = chat.id;
  if (isListed && wanted() !== chat.id) history.replaceState(null, "", `#/c/${encodeURIComponent(chat.id)}`);
});
catalogue.addEventListener("settings", () => {
  attempt(() => favourites.read());
  attempt(() => chat.renewModel()); // the default is one of them
});
catalogue.addEventListener("failed", ({ failure }) => complain(failure));
catalogue.addEventListener("offline", ({ failure }) => complain((away = failure)));
catalogue.addEventListener("online", () => {
  for (const each of [away, new TypeError()]) retract(each); // what was asked meanwhile failed too
  tell("The gateway answers again");
});
addEventListener("hashchange", () => attempt(follow));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the conversation
  composer.focus();
});

function showModel() {
  const { model, fallback, resolvable } = chat.model;
  const id = chat.asked;
  const known = id && catalogue.model(id);
  at("current-name").textContent = id ?? (access.can("chat") ? "Choose a model" : "Models");
  at("current-note").textContent = noteOf(model, resolvable, fallback);
  at("current-model").querySelector(".dot").dataset.state = known ? known.state : "unknown";
  const hadFocus = document.activeElement === at("use-default");
  at("use-default").hidden = model === null;
  if (hadFocus && model === null) composer.focus();
  at("use-default").textContent = isGone() ? `Use ${fallback}` : "Use the default";
  picker.current = id;
}

function noteOf(model, resolvable, fallback) {
  if (chat.asked && chat.asked !== model && chat.asked !== fallback) return "this turn";
  if (model === null) return fallback ? "default" : "";
  return { true: "", false: "is gone", null: "is not listed" }[resolvable];
}

/** Whether the conversation's model is not there, and another one can take its place. */
function isGone() {
  const { model, resolvable, fallback } = chat.model;
  return model !== null && resolvable !== true && fallback !== null;
}

/** The conversation that the address names. */
function wanted() {
  const found = /^#\/c\/(.+)$/.exec(location.hash);
  try {
    return found ? decodeURIComponent(found[1]) : null;
  } catch {
    return null; // no address of ours
  }
}

async function follow() {
  const id = wanted();
  if (id === chat.id) return;
  if (id && !conversations.mayHave(id)) {
    history.replaceState(null, "", location.pathname);
    tell("That conversation is not kept in this tab");
    await chat.begin();
    return;
  }
  try {
    if (id) await chat.open(id);
    else await chat.begin();
  } catch (caught) {
    if (wanted() === id) await chat.begin();
    throw caught;
  }
}

/** Offer what the key is good for, and say what it is not. */
function showAccess() {
  const note = at("key-note");
  note.hidden = !access.limits.length;
  note.querySelector("p").textContent = access.limits.join(" ");
  if (access.can("chat")) return;
  at("open-settings").hidden = true;
  composer.close(sentence(access.reason("chat")));
  sidebar.close();
  thread.isOpen = false;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}`;
}

/** Another key may be good for something else. */
async function renewAccess() {
  const before = String(access.limits);
  await access.read();
  if (String(access.limits) !== before) location.reload();
}

async function start() {
  // First, and alone: a gateway with keys asks for one once, and nothing is tried in vain.
  await access.read().catch((caught) => {
    if (caught.status === 401) throw caught;
  });
  showAccess();
  keys.addEventListener("change", () => attempt(renewAccess));
  catalogue.refresh();
  catalogue.follow();
  attempt(() => favourites.read());
  attempt(() => conversations.read());
  attempt(follow);
  // What another tab chose for this conversation is told by nobody.
  addEventListener("focus", () => attempt(() => chat.renewModel()));
}

at("key-note").querySelector("button").addEventListener("click", () => attempt(changeKey));
start().catch((caught) => {
  complain(caught);
  at("key-note").hidden = false;
});
