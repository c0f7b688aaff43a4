// SPDX-License-Identifier: Apache-2.0
// What projects hold, beside what they may hold.

import { group, legend, small } from "./bars.js";
import { get, nextMarker } from "./client.js";
import { at, h } from "./dom.js";
import { days, history, past } from "./history.js";
import { empty, facts, pager, projectLink, REASONS, seen, table } from "./parts.js";
import { reclaimable, sum, totalBars } from "./totals.js";
import { ago, count, isStale, readable, sentences, size, unknown, word } from "./words.js";

const PER_PAGE = 50;
const GIB = 2 ** 30;

/** All projects by id. */
export async function list({ query, signal }) {
  const { usages, usages_links: links } = await get("usages", { limit: PER_PAGE, marker: query.marker }, signal);
  return {
    title: "Projects",
    content: [
      usages.length === 0
        ? empty("No project is known yet. They appear when instances were reported and added up.")
        : [h("p", { class: "lead" }, "By id, as they were added up ", ago(usages[0].computed_at), "."), table("Projects", COLUMNS, usages)],
      pager(["projects"], query, nextMarker(links)),
    ],
  };
}

const COLUMNS = [
  { title: "Project", cell: (usage) => projectLink(usage.project_id) },
  { title: "Instances", numeric: true, cell: (usage) => measured(usage.coverage) },
  { title: "Promised", numeric: true, cell: (usage) => sum(usage.totals, "virtual") },
  { title: "Held", numeric: true, cell: (usage) => ofPromised(usage.totals) },
  { title: "Guests say", numeric: true, cell: (usage) => sum(usage.totals, "guest_used", mainReason(usage.coverage, "guest")) },
  { title: "Reclaimable", numeric: true, cell: (usage) => reclaimable(usage.totals) },
  { title: "Limits", cell: (usage) => limitsInShort(usage.limits) },
];

function measured({ instances, host_measured: known }) {
  return known === instances ? String(instances) : [String(instances), " ", h("span", { class: "note" }, `${known} measured`)];
}

function ofPromised(totals) {
  const text = sum(totals, "host_allocated");
  const { virtual_bytes: promised, host_allocated_bytes: held } = totals;
  if (totals.host_allocated_unknown === totals.disks || promised === 0) return text;
  return h("span", { class: "with-bar" }, text, small("held", held, Math.max(held, promised), {}));
}

function mainReason({ reasons }, lacks) {
  return reasons.find((one) => one.lacks === lacks)?.code ?? null;
}

function limitsInShort(limits) {
  const over = limits.filter(isOver);
  if (over.length) return over.map((one) => h("span", { class: "badge error" }, "over ", word(one.name)));
  return h("span", { class: "quiet" }, limits.some((one) => one.limit_gib !== null) ? "within" : "none");
}

function isOver({ limit_gib: limit, used_bytes: used }) {
  return limit !== null && used !== null && used > limit * GIB;
}

// --- one project --------------------------------------------------------------------------------

/** One project, as operators or its own people see it. */
export async function show({ words: [id], query, signal, session }) {
  const span = days(query, 7);
  const own = id === undefined;
  const project = own ? session.project : id;
  const [{ usages }, before] = await Promise.all([
    get("usages", { project_id: project }, signal),
    past({ project_id: project }, span, signal),
  ]);
  const address = own ? [] : ["projects", project];
  const [usage] = usages;
  if (usage === undefined || usage.coverage.instances === 0) {
    return {
      ...heading(project, own),
      content: [
        empty("No instance of this project is known, so there is nothing to add up. A new one appears some minutes after its start, when the agent of its host has reported it."),
        before.error || before.points.length ? history(before, span, address) : null,
      ],
    };
  }
  const { totals, coverage, limits } = usage;
  return {
    ...heading(project, own),
    content: [
      sentence(usage),
      facts([
        own ? ["Project", h("code", {}, word(project))] : null,
        ["Instances", h("a", { href: at(["instances"], own ? {} : { project_id: project }) }, count(coverage.instances, "instance"))],
        ["Local disks", count(totals.disks, "disk")],
        ["Oldest observation", usage.as_of === null ? unknown() : seen(usage.as_of)],
        ["Findings", h("a", { href: at(["findings"], own ? {} : { project_id: project }) }, "show")],
        usage.verified ? null : ["Owner", "by the domains' own word; Nova is not asked"],
      ]),
      h("section", {}, h("h2", {}, "What its disks hold"), totalBars(totals, { hostReason: mainReason(coverage, "host"), guestReason: mainReason(coverage, "guest") }), legend(), covered(coverage)),
      h("section", {}, h("h2", {}, "Beside its limits"), limits.length ? limits.map(limit) : empty("No limit is known for this project.")),
      history(before, span, address),
    ],
  };
}

function heading(project, own) {
  return { title: own ? "Usage" : project, kind: own ? null : "Project" };
}

function sentence({ totals }) {
  if (totals.disks === 0 || totals.virtual_unknown === totals.disks) return null;
  const gain = reclaimable(totals);
  return h("p", { class: "lead" }, "Promised ", size(totals.virtual_bytes), ", really held ", sum(totals, "host_allocated"), "; could be given back: ", gain, ".");
}

function covered({ instances, host_measured: host, guest_measured: guest, stale, reasons }) {
  return h(
    "div",
    { class: "coverage" },
    h("p", {}, `What is held is known of ${host} of ${count(instances, "instance")}, what the guests use of ${guest}.`, stale ? ` ${count(stale, "instance counts", "instances count")} by a report that is old.` : ""),
    reasons.length ? h("ul", { class: "plain" }, reasons.map(reason)) : null,
  );
}

function reason({ code, lacks, instances }) {
  const number = lacks === "host" ? "what they hold" : "what their guests use";
  const words = REASONS[code] ?? h("a", { href: at(["findings"], { code }) }, h("code", {}, word(code)));
  return h("li", {}, count(instances, "instance"), ` without ${instances === 1 ? number.replace("they hold", "it holds").replace("their guests use", "its guest uses") : number}: `, words);
}

function limit(one) {
  const { name, limit_gib: most, used_bytes: used, enforced, meaning, as_of: time } = one;
  const bytes = most === null ? null : most * GIB;
  const of = bytes === null ? "no limit is set" : ["limit ", size(bytes)];
  const row =
    used === null || bytes === null
      ? { label: "Used", low: null, value: used === null ? unknown() : size(used), note: of }
      : { label: "Used", color: isOver(one) ? "over" : "held", low: used, value: [size(used), isOver(one) ? [" ", h("span", { class: "badge error" }, `${readable(used - bytes)} over`)] : null], note: of };
  return h(
    "article",
    { class: "card limit" },
    h("h3", {}, h("code", {}, word(name)), " ", h("span", { class: `badge ${enforced ? "warning" : "info"}` }, enforced ? "enforced" : enforced === null ? "not known if enforced" : "reported only")),
    h("p", {}, sentences(meaning)),
    group([row], { frame: bytes, whole: "the limit" }),
    time !== null && isStale(time) ? h("p", { class: "quiet" }, "Known ", ago(time), ".") : null,
  );
}
