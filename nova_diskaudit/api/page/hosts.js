// SPDX-License-Identifier: Apache-2.0
// Hosts that report, and one of them with its storages.

import { group, small } from "./bars.js";
import { get, nextMarker } from "./client.js";
import { at, h } from "./dom.js";
import { instanceTable, LISTED_FIELDS } from "./instances.js";
import { empty, facts, findings, hostLink, pager, seen, table, tally } from "./parts.js";
import { count, isStale, size, unknown, visible, word } from "./words.js";

const PER_PAGE = 50;
const STORAGES_IN_A_CELL = 3;
const BUSIEST = 25;
const NEARLY_FULL = 0.1;

/** All hosts by name. */
export async function list({ query, signal }) {
  const { hosts, hosts_links: links } = await get("hosts", { limit: PER_PAGE, marker: query.marker }, signal);
  const marker = nextMarker(links);
  if (hosts.length === 0) {
    return {
      title: "Hosts",
      content: empty("No host has reported yet. Each compute node does as soon as its agent publishes: see the section [publisher] of its configuration."),
    };
  }
  const isAll = marker === null && !query.marker;
  return {
    title: "Hosts",
    content: [
      isAll ? summary(hosts) : h("p", { class: "lead" }, "By name, ", count(hosts.length, "host"), " on this page."),
      table("Hosts", COLUMNS, hosts),
      pager(["hosts"], query, marker),
    ],
  };
}

function summary(hosts) {
  const sum = (name) => hosts.reduce((before, host) => before + host[name], 0);
  const stale = hosts.filter((host) => isStale(host.received_at)).length;
  return h(
    "p",
    { class: "lead" },
    count(hosts.length, "host"),
    stale ? [", ", h("strong", {}, `${stale} of them silent for more than an hour`)] : null,
    ": ",
    count(sum("instances"), "instance"),
    " whose local disks were promised ",
    size(sum("virtual_bytes")),
    " and hold ",
    size(sum("host_allocated_bytes")),
    ".",
  );
}

const COLUMNS = [
  { title: "Host", cell: (host) => hostLink(host.name) },
  { title: "Reported", cell: (host) => seen(host.received_at) },
  {
    title: "Instances",
    numeric: true,
    cell: (host) => h("a", { href: at(["instances"], { host: host.name }) }, String(host.instances)),
  },
  { title: "Promised", numeric: true, cell: (host) => size(host.virtual_bytes) },
  { title: "Held", numeric: true, cell: (host) => size(host.host_allocated_bytes) },
  { title: "Storage in use", cell: (host) => storageCell(host.storages) },
  { title: "Findings", cell: (host) => tally([...host.findings, ...host.storages.flatMap((one) => one.findings)]) },
];

function storageCell(storages) {
  if (storages.length === 0) return h("span", { class: "quiet" }, "none known");
  const more = storages.length - STORAGES_IN_A_CELL;
  return h(
    "ul",
    { class: "plain" },
    storages.slice(0, STORAGES_IN_A_CELL).map((one) => h("li", {}, inUse(one))),
    more > 0 ? h("li", { class: "quiet" }, `and ${more} more`) : null,
  );
}

function inUse(storage) {
  const { total_bytes: total, free_bytes: free, path } = storage;
  if (total === null || free === null) return [word(path), " ", unknown(reasonOf(storage))];
  return h(
    "span",
    { class: "storage", title: visible(path) },
    small("inuse", total - free, total, {}),
    h("span", {}, size(free), " free of ", size(total)),
    nearlyFull(free, total),
  );
}

function nearlyFull(free, total) {
  return free < total * NEARLY_FULL ? h("span", { class: "badge warning" }, `${Math.floor((100 * free) / total)} % free`) : null;
}

function reasonOf(storage) {
  return storage.findings[0]?.code ?? null;
}

// --- one host -----------------------------------------------------------------------------------

export async function show({ words: [name], signal }) {
  const [host, { instances, instances_links: links }] = await Promise.all([
    get(`hosts/${encodeURIComponent(name)}`, {}, signal),
    get("instances", { host: name, sort: "reclaimable_likely_bytes:desc", limit: BUSIEST, fields: LISTED_FIELDS }, signal),
  ]);
  return {
    title: visible(host.name),
    kind: "Host",
    content: [
      facts([
        ["Reported", seen(host.received_at)],
        ["Instances", count(host.instances, "instance")],
        ["Local disks", count(host.disks, "disk")],
        ["Promised", size(host.virtual_bytes)],
        ["Held", size(host.host_allocated_bytes)],
      ]),
      host.findings.length ? section("Findings about this host", findings(host.findings, { host: host.name })) : null,
      section("Storages", host.storages.length ? host.storages.map(storage) : empty("The agent tells of no filesystem that carries disks.")),
      section(
        "Instances, most reclaimable first",
        instances.length ? instanceTable(instances, { withHost: false }) : empty("No instance is counted on this host."),
        nextMarker(links) === null ? null : h("p", {}, h("a", { href: at(["instances"], { host: host.name }) }, "All instances of this host")),
      ),
      h("p", {}, h("a", { href: at(["findings"], { host: host.name }) }, "All findings of this host and its instances")),
    ],
  };
}

function section(title, ...content) {
  return h("section", {}, h("h2", {}, title), content);
}

function storage(one) {
  const { total_bytes: total, free_bytes: free } = one;
  const known = total !== null && free !== null;
  return h(
    "article",
    { class: "card" },
    h("h3", {}, word(one.path), " ", h("span", { class: "quiet" }, word([one.fs_type, one.kind].filter(Boolean).join(", ")))),
    group(
      [
        known
          ? { label: "In use", color: "inuse", low: total - free, value: [size(total - free), " of ", size(total)], note: [size(free), " free ", nearlyFull(free, total)] }
          : { label: "In use", low: null, reason: reasonOf(one) },
        { label: "Promised", color: "promised", low: one.virtual_sum_bytes, note: overcommit(one) },
        side("Image cache", one.image_cache_bytes, "storage-scan-incomplete", one),
        side("Saved memory", one.managed_save_bytes, "storage-scan-incomplete", one),
      ],
      { frame: total, whole: "the filesystem" },
    ),
    one.leftovers.length ? leftovers(one.leftovers) : null,
    one.findings.length ? findings(one.findings) : null,
  );
}

function overcommit({ total_bytes: total, virtual_sum_bytes: promised }) {
  return total ? `${(promised / total).toFixed(2)} times the filesystem` : null;
}

function side(label, bytes, code, { findings: found }) {
  const reason = found.some((one) => one.code === code) ? code : null;
  return bytes === null ? { label, low: null, reason } : { label, color: "inuse", low: bytes };
}

function leftovers(files) {
  const known = files.filter((one) => one.host_allocated_bytes !== null);
  const bytes = known.reduce((before, one) => before + one.host_allocated_bytes, 0);
  return h(
    "details",
    {},
    h("summary", {}, `${count(files.length, "file or directory", "files and directories")} of no known domain: `, known.length ? size(bytes) : unknown()),
    h(
      "ul",
      { class: "plain" },
      files.map((one) => h("li", {}, h("code", {}, word(one.name)), " ", one.host_allocated_bytes === null ? unknown() : size(one.host_allocated_bytes))),
    ),
  );
}
