// SPDX-License-Identifier: Apache-2.0
// Instances in a list, those with the most to gain first.

import { heldBar } from "./bars.js";
import { get, nextMarker } from "./client.js";
import { at, h } from "./dom.js";
import { choice, empty, hostLink, instanceLink, pager, seen, shortProjectLink, table, TRUST } from "./parts.js";
import { reclaimable, sum } from "./totals.js";
import { word } from "./words.js";

const PER_PAGE = 50;
const MOST_RECLAIMABLE = "reclaimable_likely_bytes:desc";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const LISTED_FIELDS = "uuid,name,project_id,host,domain,state,trust,as_of,totals,guest";

const ORDERS = {
  [MOST_RECLAIMABLE]: "reclaimable",
  "host_allocated_bytes:desc": "held",
  "virtual_bytes:desc": "promised",
  "guest_used_bytes:desc": "guest says",
};

/** Instances; the query narrows them and says in which order. */
export async function list({ query, signal, session }) {
  const sort = query.sort in ORDERS ? query.sort : MOST_RECLAIMABLE;
  const asked = {
    project_id: query.project_id,
    host: query.host,
    finding: query.finding,
    trust: query.trust,
  };
  const { instances, instances_links: links } = await get(
    "instances",
    { ...asked, sort, limit: PER_PAGE, marker: query.marker, fields: LISTED_FIELDS },
    signal,
  );
  const marker = nextMarker(links);
  return {
    title: "Instances",
    content: [
      filters(asked, query),
      h("div", { class: "choices" }, inOrder(asked, sort), session.kind === "operator" && !session.open ? byTrust(asked, sort) : null, search()),
      instances.length === 0
        ? empty(...nothing(asked, session))
        : instanceTable(instances, {
            withHost: session.kind === "operator" && !asked.host,
            withProject: session.kind === "operator" && !asked.project_id,
            withTrust: session.kind === "operator" && !session.open,
            sort,
          }),
      pager(["instances"], query, marker),
    ],
  };
}

function nothing(asked, session) {
  if (Object.values(asked).some(Boolean)) return ["No instance is like that."];
  return session.kind === "operator"
    ? ["No instance has been reported yet."]
    : ["No instance of this project is known. A new one appears when the agent of its host has reported and Nova has confirmed it, some minutes after its start."];
}

const NAMES = { project_id: "project", host: "host", finding: "finding" };

function filters(asked, query) {
  const given = Object.entries(asked).filter(([name, value]) => name in NAMES && value);
  if (given.length === 0) return null;
  const rest = (without) => at(["instances"], { ...asked, sort: query.sort, [without]: null });
  return h(
    "ul",
    { class: "filters", "aria-label": "Only instances with" },
    given.map(([name, value]) =>
      h("li", {}, `${NAMES[name]} `, word(value), " ", h("a", { href: rest(name), "aria-label": `Without ${NAMES[name]}` }, "\u00d7")),
    ),
  );
}

function byTrust(asked, sort) {
  const to = (trust) => at(["instances"], { ...asked, sort, trust });
  return choice("Confirmed", asked.trust ?? null, [[null, "all", to(null)], ...Object.keys(TRUST).map((one) => [one, one, to(one)])]);
}

function inOrder(asked, sort) {
  return choice("Most first by", sort, Object.entries(ORDERS).map(([key, title]) => [key, title, at(["instances"], { ...asked, sort: key })]));
}

function search() {
  const input = h("input", {
    type: "search",
    name: "uuid",
    size: "38",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "UUID of an instance",
    "aria-label": "UUID of an instance",
  });
  const problem = h("span", { class: "problem", role: "alert" });
  return h(
    "form",
    {
      class: "search",
      role: "search",
      submit: (event) => {
        event.preventDefault();
        const uuid = input.value.trim().toLowerCase();
        if (UUID.test(uuid)) location.hash = at(["instances", uuid]);
        else problem.textContent = "This is not a whole UUID.";
      },
    },
    input,
    h("button", {}, "Show"),
    problem,
  );
}

/** A table of instances. The bars of a column have one scale. */
export function instanceTable(instances, { withHost = true, withProject = true, withTrust = false, sort = null }) {
  const most = Math.max(1, ...instances.map((one) => one.totals.host_allocated_bytes));
  const sorting = (key) => ({ sorted: sort === key ? "descending" : null });
  const columns = [
    { title: "Instance", cell: (one) => named(one, withTrust) },
    withProject ? { title: "Project", cell: (one) => shortProjectLink(one.project_id) } : null,
    withHost ? { title: "Host", cell: (one) => (one.host ? hostLink(one.host) : null) } : null,
    { title: "Promised", numeric: true, cell: (one) => sum(one.totals, "virtual"), ...sorting("virtual_bytes:desc") },
    { title: "Held", numeric: true, cell: (one) => held(one.totals, most), ...sorting("host_allocated_bytes:desc") },
    {
      title: "Guest says",
      numeric: true,
      cell: (one) => sum(one.totals, "guest_used", silence(one.guest)),
      ...sorting("guest_used_bytes:desc"),
    },
    { title: "Reclaimable", numeric: true, cell: (one) => reclaimable(one.totals), ...sorting(MOST_RECLAIMABLE) },
    { title: "Seen", cell: (one) => seen(one.as_of) },
  ];
  return [
    table("Instances", columns.filter(Boolean), instances),
    h(
      "ul",
      { class: "legend", "aria-label": "How to read the bars" },
      h("li", {}, h("span", { class: "swatch held solid", "aria-hidden": "true" }), "held"),
      h("li", {}, h("span", { class: "swatch reclaimable solid", "aria-hidden": "true" }), "held, and likely reclaimable"),
      h("li", {}, `full width: the most on this page`),
    ),
  ];
}

function silence(guest) {
  return guest.state === "answered" ? null : guest.state;
}

function named(one, withTrust) {
  return [
    instanceLink(one.uuid, one.name ?? one.domain),
    " ",
    one.state === "running" ? null : h("span", { class: "badge info" }, word(one.state)),
    withTrust && one.trust !== "verified" ? h("span", { class: "badge warning", title: TRUST[one.trust] }, one.trust) : null,
  ];
}

function held(totals, most) {
  const text = sum(totals, "host_allocated");
  if (totals.disks > 0 && totals.host_allocated_unknown === totals.disks) return text;
  return h("span", { class: "with-bar" }, text, heldBar(totals.host_allocated_bytes, totals.reclaimable_likely_bytes, most));
}

