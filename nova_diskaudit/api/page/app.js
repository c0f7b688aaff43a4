// SPDX-License-Identifier: Apache-2.0
// The page: who looks at it, which view the address names, and what becomes of it.

import { hasToken, isToken, setToken, whoAmI } from "./client.js";
import { at, h } from "./dom.js";
import * as findings from "./findings.js";
import * as hosts from "./hosts.js";
import * as instance from "./instance.js";
import * as instances from "./instances.js";
import { trouble } from "./parts.js";
import * as projects from "./projects.js";
import { now, showExactly, utc, word } from "./words.js";

// Words in an address, what they may be preceded by, and the view that they name.
const SHARED = [
  [/^instances$/, instances.list],
  [/^instances\/([^/]+)$/, instance.show],
  [/^findings$/, findings.list],
];
const VIEWS = {
  operator: [[/^$/, hosts.list], [/^hosts$/, hosts.list], [/^hosts\/([^/]+)$/, hosts.show], [/^projects$/, projects.list], [/^projects\/([^/]+)$/, projects.show], ...SHARED],
  tenant: [[/^$/, projects.show], ...SHARED],
};
const MENU = {
  operator: [["Hosts", "hosts"], ["Projects", "projects"], ["Instances", "instances"], ["Findings", "findings"]],
  tenant: [["Usage", ""], ["Instances", "instances"], ["Findings", "findings"]],
};
const PATIENCE_MILLISECONDS = 200;

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const tools = document.getElementById("tools");
const live = document.getElementById("live");

let session = null;
let asking = new AbortController();

function address() {
  const hash = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const [path, query = ""] = hash.split("?", 2);
  return { path, query: Object.fromEntries(new URLSearchParams(query)) };
}

// --- what is shown ------------------------------------------------------------------------------

function put(title, ...content) {
  document.title = `${title} - nova-diskaudit`;
  main.replaceChildren(...content.flat(Infinity).filter(Boolean));
  main.removeAttribute("aria-busy");
}

/** The view that the address names. `isMove`: the visitor went there, so the focus goes along. */
async function show(isMove = true) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  drawHeader();
  if (session === null) {
    signIn();
    return;
  }
  const { path, query } = address();
  const answered = wait(signal);
  try {
    const { title, kind = null, content } = await viewed(path, query, signal);
    if (signal.aborted) return;
    put(title, headed(title, kind), content);
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) {
      forget("The token is not valid any more.");
      return;
    }
    // A defect of the page is told like one of the service; the console has its place.
    if (error.code === undefined) console.error(error);
    put("Trouble", h("h1", { tabindex: "-1" }, "No answer"), trouble(error.code === undefined ? { title: "This page has a defect", detail: String(error) } : error, () => show()));
  } finally {
    answered();
  }
  live.textContent = document.title;
  if (isMove) {
    main.querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else {
    main.querySelector(".again")?.focus({ preventScroll: true });
  }
}

/** Say that an answer is awaited, if it takes long enough to be noticed; the returned ends that. */
function wait(signal) {
  main.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => {
    if (signal?.aborted) return;
    put("Loading", h("p", { class: "loading" }, "Loading\u2026"));
    main.setAttribute("aria-busy", "true");
  }, PATIENCE_MILLISECONDS);
  return () => clearTimeout(slow);
}

async function viewed(path, query, signal) {
  for (const [pattern, view] of VIEWS[session.kind]) {
    const found = pattern.exec(path);
    const words = found && decoded(found.slice(1));
    if (words) return view({ words, query, signal, session });
  }
  return { title: "Nothing here", content: h("p", { class: "empty" }, "This address names no view. ", h("a", { href: at([]) }, "Begin at the beginning"), ".") };
}

function decoded(words) {
  try {
    return words.map(decodeURIComponent);
  } catch {
    return null; // no address that this page has made
  }
}

function headed(title, kind) {
  return h(
    "div",
    { class: "heading" },
    kind ? h("p", { class: "kind" }, kind) : null,
    h("h1", { tabindex: "-1" }, word(title)),
    h("p", { class: "read" }, "Read at ", utc(now()).slice(11), " ", h("button", { type: "button", class: "plain-button again", click: () => show(false) }, "Read again")),
  );
}

function drawHeader() {
  const { path } = address();
  const items = session === null ? [] : MENU[session.kind];
  const first = path.split("/", 1)[0];
  const current = first === "" ? items[0]?.[1] : first;
  nav.hidden = items.length === 0;
  nav.replaceChildren(
    h("ul", {}, items.map(([title, name]) => h("li", {}, h("a", { href: name ? at([name]) : at([]), "aria-current": name === current ? "page" : null }, title)))),
  );
}

function drawTools() {
  if (session === null) {
    tools.replaceChildren();
    return;
  }
  const who = { operator: "operator", tenant: "project reader" }[session.kind];
  tools.replaceChildren(
    h("label", { class: "exactly" }, h("input", { type: "checkbox", change: (event) => showExactly(event.target.checked) }), " Exact bytes"),
    h("span", { class: "who" }, session.open ? "this machine, without Keystone" : who),
    ...(session.open ? [] : [h("button", { type: "button", click: () => forget(null) }, "Sign out")]),
  );
  showExactly(false);
}

// --- who looks at it ----------------------------------------------------------------------------

function forget(said) {
  setToken(null);
  session = null;
  drawTools();
  asking.abort();
  drawHeader();
  signIn(said);
}

/** Ask for a token; `said` is why, if there was one before. */
function signIn(said = null) {
  const input = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-help", maxlength: "16000" });
  const problem = h("p", { class: "problem", role: "alert" }, said ?? "");
  const button = h("button", {}, "Sign in");
  const form = h(
    "form",
    {
      class: "sign-in",
      submit: async (event) => {
        event.preventDefault();
        const given = input.value.trim();
        problem.textContent = "";
        if (!isToken(given)) {
          problem.textContent = "This does not look like a token: one long word is expected.";
          input.focus();
          return;
        }
        button.disabled = true;
        setToken(given);
        const found = await known(problem);
        button.disabled = false;
        if (found === null) {
          setToken(null);
          input.select();
          return;
        }
        input.value = "";
        begin(found);
      },
    },
    h("label", { for: "token" }, "A token of Keystone"),
    input,
    button,
    problem,
    h(
      "div",
      { id: "token-help" },
      h("p", {}, "Print one with ", h("code", {}, "openstack token issue -f value -c id"), " and paste it here. The role ", h("code", {}, "reader"), " shows your own project."),
      h("p", { class: "quiet" }, "It stays in the memory of this tab, is sent to this service alone, and is forgotten when you sign out, close the tab or load the page anew."),
      isSecureContext ? null : h("p", { class: "warning-text" }, "This page came without TLS: whoever is on the way can read a token that you send."),
    ),
  );
  put("Sign in", h("div", { class: "narrow" }, h("h1", { tabindex: "-1" }, "Sign in"), h("p", { class: "lead" }, "What the disks of instances were promised, what the storage holds for them, and what their guests say."), form));
  input.focus();
}

/** Who the token belongs to; null when that is nobody, which `problem` then tells. */
async function known(problem) {
  try {
    const found = await whoAmI();
    if (found.kind !== "nobody") return found;
    problem.textContent = "Keystone does not know this token, or it has expired.";
  } catch (error) {
    const request = error.requestId ? ` (request ${error.requestId})` : "";
    problem.textContent = error.status === 403 ? `This token may see nothing here: it needs the role reader on a project, or one of an operator${request}.` : `${error.title}. ${error.detail ?? ""}${request}`;
  }
  return null;
}

function begin(found) {
  session = { ...found, open: !hasToken() };
  drawTools();
  show();
}

async function start() {
  const answered = wait();
  try {
    const found = await whoAmI();
    if (found.kind !== "nobody") {
      begin(found);
      return;
    }
  } catch (error) {
    put("Trouble", h("h1", { tabindex: "-1" }, "No answer"), trouble(error, start));
    return;
  } finally {
    answered();
  }
  show();
}

addEventListener("hashchange", () => show());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part behind # names the view
  (main.querySelector("h1") ?? main).focus();
});
start();
