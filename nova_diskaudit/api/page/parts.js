// SPDX-License-Identifier: Apache-2.0
// What several views are made of.

import { at, h } from "./dom.js";
import { ago, count, isStale, name, sentences, shortId, unknown, word } from "./words.js";

/** A table that becomes a list of cards where there is no room for it.
 *
 * `columns` are {title, numeric, cell: (row) => content, sorted: "descending" where it is}.
 */
export function table(caption, columns, rows) {
  // Said again in roles, because a table that is laid out as cards is none to a screen reader.
  const head = columns.map((column) =>
    h(
      "th",
      { scope: "col", role: "columnheader", class: column.numeric && "numeric", "aria-sort": column.sorted },
      column.title,
    ),
  );
  const body = rows.map((row) =>
    h(
      "tr",
      { role: "row" },
      columns.map((column, index) =>
        h(
          index === 0 ? "th" : "td",
          {
            scope: index === 0 && "row",
            role: index === 0 ? "rowheader" : "cell",
            class: column.numeric && "numeric",
            "data-title": column.title,
          },
          h("div", { class: "cell" }, column.cell(row)),
        ),
      ),
    ),
  );
  return scrolling(
    caption,
    h(
      "table",
      { role: "table" },
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, body),
    ),
  );
}

/** What may be wider than the window. Where it is, the keyboard can scroll it; else it is no stop. */
export function scrolling(caption, ...content) {
  const frame = h("div", { class: "scroll" }, content);
  const judge = () => {
    const isWider = frame.scrollWidth > frame.clientWidth + 1;
    for (const [name, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": caption })) {
      if (isWider) frame.setAttribute(name, value);
      else frame.removeAttribute(name);
    }
  };
  new ResizeObserver(judge).observe(frame);
  return frame;
}

/** Ways to ask again, one of which is the way it was asked: `options` are [value, title, address]. */
export function choice(title, current, options) {
  return h(
    "nav",
    { class: "choice", "aria-label": title },
    h("span", { class: "quiet", "aria-hidden": "true" }, title),
    h("ul", {}, options.map(([value, words, href]) => h("li", {}, h("a", { href, "aria-current": value === current ? "true" : null }, words)))),
  );
}

/** Links to the following page of a list and back to its first one. */
export function pager(words, query, marker) {
  if (marker === null && !query.marker) return null;
  const { marker: here, ...first } = query;
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    here ? h("a", { href: at(words, first) }, "First page") : null,
    marker === null ? h("span", { class: "quiet" }, "This is the last page") : h("a", { href: at(words, { ...first, marker }), rel: "next" }, "Next page"),
  );
}

/** There is nothing, in a sentence. */
export function empty(...sentence) {
  return h("p", { class: "empty" }, sentence);
}

/** An answer that is none: what happened, and by which id the service's log knows it. */
export function trouble({ title, detail, code, status, requestId }, again = null) {
  return h(
    "div",
    { class: "trouble", role: "alert" },
    h("h2", {}, word(title ?? "Something went wrong")),
    detail && detail !== title ? h("p", {}, sentences(detail)) : null,
    h(
      "p",
      { class: "quiet" },
      status ? [`Status ${status}, `, h("code", {}, word(code))] : null,
      requestId ? [", request ", h("code", { class: "request-id" }, word(requestId))] : null,
    ),
    again ? h("button", { type: "button", click: again }, "Try again") : null,
  );
}

/** Names with what belongs to them. Entries without a value are left out. */
export function facts(entries) {
  return h(
    "dl",
    { class: "facts" },
    entries
      .filter((entry) => entry && entry[1] !== null && entry[1] !== undefined)
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** When something was seen, marked when that is long ago. */
export function seen(time) {
  return [ago(time), isStale(time) ? [" ", h("span", { class: "badge warning" }, "stale")] : null];
}

/** A severity as a word. */
export function severity(name) {
  return h("span", { class: `badge ${["error", "warning"].includes(name) ? name : "info"}` }, name);
}

const RANKS = ["error", "warning", "info"];

/** How many findings there are of each severity. */
export function tally(found) {
  const parts = RANKS.map((name) => [name, found.filter((one) => one.severity === name).length]).filter(([, number]) => number > 0);
  return parts.length === 0
    ? h("span", { class: "quiet" }, "none")
    : h("span", { class: "tally" }, parts.map(([name, number]) => h("span", { class: `badge ${name}` }, name === "info" ? `${number} info` : count(number, name))));
}

/** Findings with their words, the worst first; those that only explain are folded away.
 *
 * `narrow` is the question that leads to more of them, `actions` what to do by code.
 */
export function findings(found, narrow = {}, actions = new Map()) {
  const notes = found.filter((one) => one.severity === "info");
  const others = found.filter((one) => one.severity !== "info").sort((one, other) => RANKS.indexOf(one.severity) - RANKS.indexOf(other.severity));
  return [
    others.length ? inFull(others, narrow, actions) : null,
    notes.length ? h("details", { class: "notes" }, h("summary", {}, `${count(notes.length, "note")} on its numbers: `, notes.map((one) => one.code).join(", ")), inFull(notes, narrow, actions)) : null,
  ];
}

function inFull(found, narrow, actions) {
  return h(
    "ul",
    { class: "findings" },
    found.map((one) =>
      h(
        "li",
        {},
        h("p", { class: "finding-head" }, severity(one.severity), " ", h("a", { href: at(["findings"], { code: one.code, ...narrow }) }, h("code", {}, word(one.code)))),
        one.message ? h("p", {}, sentences(one.message)) : null,
        actions.get(one.code) ? h("p", { class: "action" }, "What to do: ", actions.get(one.code)) : null,
      ),
    ),
  );
}

/** The words for who confirms an instance. */
export const TRUST = {
  verified: "Nova confirms its owner and its host",
  pending: "Nova has not been heard about it yet",
  unverified: "nobody confirms its owner",
};

// What something is called, with the way to it.
export function projectLink(id, shown = word) {
  return id === null ? unknown() : h("a", { href: at(["projects", id]) }, shown(id));
}

export function shortProjectLink(id) {
  return projectLink(id, shortId);
}

export function hostLink(host) {
  return h("a", { href: at(["hosts", host]), class: "host" }, name(host));
}

export function instanceLink(uuid, called = null) {
  return h("a", { href: at(["instances", uuid]), title: uuid }, called ? name(called) : h("code", {}, uuid.slice(0, 8)));
}

/** Why instances are not measured, for people. Codes of findings stand for themselves. */
export const REASONS = {
  "not-reported": "no host reports them",
  "not-on-a-host": "they are on no host (shelved, or not scheduled yet)",
  unverified: "they are reported from where Nova does not have them",
  "no-filesystem": "the guest answers, and no filesystem of it lies on one of the disks alone",
  "not-told": "the report does not say why",
};
