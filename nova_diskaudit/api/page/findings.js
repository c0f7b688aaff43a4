// SPDX-License-Identifier: Apache-2.0
// What was found, by code: the cause, what to do, and whom it is about.

import { get, nextMarker } from "./client.js";
import { at, h } from "./dom.js";
import { empty, hostLink, instanceLink, pager, severity, shortProjectLink } from "./parts.js";
import { ago, count, sentences, word } from "./words.js";

const PER_PAGE = 100;
const SEVERITIES = ["error", "warning", "info"];
const CODE = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** Findings as the query narrows them; without one, what deserves attention. */
export async function list({ query, signal, session }) {
  const asked = {
    code: query.code,
    severity: query.severity,
    origin: query.origin,
    host: query.host,
    instance: query.instance,
    project_id: query.project_id,
  };
  const isNarrowed = Object.values(asked).some(Boolean);
  const parts = isNarrowed ? [await page({ ...asked, marker: query.marker }, signal)] : await Promise.all(ATTENTION.map((name) => page({ severity: name }, signal)));
  const content = parts.flatMap(({ findings }) => byCode(findings).map((group) => shown(group, session)));
  return {
    title: "Findings",
    content: [
      h("p", { class: "lead" }, "Why a number is missing or misleads, and what to do about it."),
      form(asked),
      content.length ? content : empty(isNarrowed ? "Nothing like that was found." : "Nothing that deserves attention was found."),
      isNarrowed ? pager(["findings"], query, parts[0].marker) : further(parts),
    ],
  };
}

const ATTENTION = ["error", "warning"];

async function page(asked, signal) {
  const { findings, findings_links: links } = await get("findings", { ...asked, limit: PER_PAGE }, signal);
  return { findings, marker: nextMarker(links) };
}

function further(parts) {
  const more = ATTENTION.filter((_, index) => parts[index].marker !== null);
  return h(
    "nav",
    { class: "pager", "aria-label": "More findings" },
    more.map((name) => h("a", { href: at(["findings"], { severity: name }) }, `All with severity ${name}`)),
    h("a", { href: at(["findings"], { severity: "info" }) }, "Notes that only explain numbers (info)"),
  );
}

/** They come in the order of their codes. */
function byCode(findings) {
  const groups = new Map();
  for (const one of findings) groups.set(one.code, [...(groups.get(one.code) ?? []), one]);
  const rank = ([first]) => SEVERITIES.indexOf(first.severity);
  return [...groups.values()].sort((one, other) => rank(one) - rank(other));
}

function shown(group, session) {
  const [first] = group;
  // The cause is said once, and at each what was seen there.
  const told = group.map((one) => parted(one.message));
  const common = told.every(([cause]) => cause === told[0][0]);
  return h(
    "section",
    { class: "card finding" },
    h("h2", {}, h("code", {}, word(first.code)), " ", severity(first.severity), " ", h("span", { class: "quiet" }, count(group.length, "time"))),
    common ? h("p", {}, sentences(told[0][0])) : null,
    first.action ? h("p", { class: "action" }, "What to do: ", first.action) : null,
    h("ul", { class: group.length > 3 ? "about columns" : "about" }, group.map((one, index) => h("li", {}, about(one, session), said(common ? told[index][1] : one.message)))),
  );
}

function said(text) {
  return text ? h("p", { class: "said" }, sentences(text)) : null;
}

/** The cause, and what was seen: the words of a finding have it in parentheses behind. */
function parted(message) {
  const found = /^(.+?\.) \((.+)\)$/su.exec(message);
  return found ? [found[1], found[2]] : [message, ""];
}

function about(one, session) {
  return [
    one.instance ? ["instance ", instanceLink(one.instance)] : null,
    one.disks.length ? [" ", one.disks.map((disk) => [word(disk, { class: "disk" }), " "])] : null,
    one.host ? [one.instance ? " on " : "host ", hostLink(one.host)] : null,
    one.project_id && session.kind === "operator" ? [" of ", shortProjectLink(one.project_id)] : null,
    h("span", { class: "quiet" }, " since ", ago(one.since)),
    one.origin === "reconcile" ? [" ", h("span", { class: "badge info", title: "Found by the service, not by the agent" }, "by the service")] : null,
  ];
}

function form(asked) {
  const code = h("input", { name: "code", value: asked.code, size: "28", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const chosen = h(
    "select",
    { name: "severity" },
    h("option", { value: "" }, "any"),
    SEVERITIES.map((name) => h("option", { value: name, selected: asked.severity === name }, name)),
  );
  const problem = h("span", { class: "problem", role: "alert" });
  const narrowed = Object.entries({ host: asked.host, instance: asked.instance, project: asked.project_id, origin: asked.origin }).filter(([, value]) => value);
  return h(
    "form",
    {
      class: "search",
      role: "search",
      "aria-label": "Which findings",
      submit: (event) => {
        event.preventDefault();
        const wanted = code.value.trim();
        if (wanted && !CODE.test(wanted)) problem.textContent = "A code has small letters, digits and hyphens.";
        else location.hash = at(["findings"], { ...asked, code: wanted, severity: chosen.value });
      },
    },
    h("label", {}, "Code ", code),
    h("label", {}, "Severity ", chosen),
    h("button", {}, "Show"),
    Object.values(asked).some(Boolean) ? h("a", { href: at(["findings"]) }, "Show all") : null,
    narrowed.length ? h("span", { class: "quiet" }, "only ", narrowed.map(([name, value]) => [`${name} `, word(value), " "])) : null,
    problem,
  );
}
