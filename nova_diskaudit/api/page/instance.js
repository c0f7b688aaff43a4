// SPDX-License-Identifier: Apache-2.0
// The story of one instance: each disk with what was promised, held, claimed, and what follows.

import { group, legend, small } from "./bars.js";
import { get } from "./client.js";
import { at, h } from "./dom.js";
import { days, history, past } from "./history.js";
import { empty, facts, findings, hostLink, projectLink, seen, table, TRUST } from "./parts.js";
import { bounds, totalBars } from "./totals.js";
import { ago, count, name, size, unknown, visible, word } from "./words.js";

const KINDS = { local: "local disk", volume: "Cinder volume", config: "config drive", cdrom: "CD-ROM" };
const HOW = {
  trim: "run fstrim in the guest",
  "enable-discard": "set discard=unmap for the disk, then run fstrim in the guest",
  "delete-snapshot": "delete internal snapshots of the image",
  none: null,
};
const PLACES = {
  direct: "on this disk alone",
  inside: "within this disk, may share blocks with another",
  spans: "on several disks, or that cannot be ruled out",
  elsewhere: "on no disk that is known",
  ignored: "not counted",
};

// Which finding explains that a number is missing: the first of these that is there.
const NO_SIZE = ["virtual-size-unknown", "image-header-invalid"];
const NO_HELD = [
  "storage-unresponsive",
  "storage-error",
  "permission-denied",
  "file-missing",
  "not-a-regular-file",
  "external-data-unknown",
  "host-allocation-unknown",
  "no-medium",
];
const OF_THE_DOMAIN = ["qemu-unresponsive", "domain-unreadable", "no-connection", "libvirt-busy", "audit-deadline", "domain-gone"];
const NO_CLAIM = ["guest-claim-implausible", "guest-claim-exceeds-disk", "filesystem-spans-disks", "agent-without-byte-counts", "filesystem-unattributed"];

export async function show({ words: [uuid], query, signal, session }) {
  const span = days(query, 30);
  const [instance, told, before] = await Promise.all([
    get(`instances/${encodeURIComponent(uuid)}`, {}, signal),
    get("findings", { instance: uuid, limit: 100 }, signal),
    past({ instance: uuid }, span, signal),
  ]);
  const actions = new Map(told.findings.map((one) => [one.code, one.action]));
  const main = instance.disks.filter((disk) => disk.kind === "local" || disk.kind === "volume");
  const others = instance.disks.filter((disk) => !main.includes(disk));
  const placed = new Set(main.map((disk) => disk.target));
  const loose = instance.filesystems.filter((one) => one.place === "spans" || !one.disks.some((target) => placed.has(target)));
  const isUrgent = instance.findings.some((one) => one.severity !== "info");
  const ofItself = instance.findings.length ? h("section", {}, h("h2", {}, "About the instance"), findings(instance.findings, narrowed(instance), actions)) : null;
  const local = main.filter((disk) => disk.kind === "local");
  return {
    title: visible(instance.name ?? instance.domain ?? instance.uuid),
    kind: "Instance",
    content: [
      identity(instance, session),
      isUrgent ? ofItself : null,
      main.length === 0 ? empty("Nothing is known of its disks.") : legend(),
      local.length < 2 ? null : h("section", {}, h("h2", {}, "Its local disks together"), totalBars(instance.totals, { guestReason: silence(instance) })),
      main.map((disk) => oneDisk(disk, instance, actions)),
      loose.length ? h("section", {}, h("h2", {}, "Filesystems that belong to no single disk"), filesystems("Filesystems that belong to no single disk, as the guest tells", loose)) : null,
      others.length ? h("details", {}, h("summary", {}, count(others.length, "config drive or CD-ROM", "config drives and CD-ROMs")), others.map((disk) => oneDisk(disk, instance, actions))) : null,
      isUrgent ? null : ofItself,
      instance.other_sightings?.length ? sightings(instance.other_sightings) : null,
      history(before, span, ["instances", uuid]),
    ],
  };
}

function narrowed(instance) {
  return { instance: instance.uuid };
}

function silence({ guest }) {
  return guest.state === "answered" ? null : guest.state;
}

function identity(instance, session) {
  const operator = session.kind === "operator";
  const claimed = instance.claimed_project_id;
  return facts([
    ["UUID", h("code", {}, instance.uuid)],
    ["State", word(instance.state)],
    ["Seen", seen(instance.as_of)],
    ["Guest agent", guest(instance.guest)],
    operator ? ["Project", instance.project_id === null ? unknown() : projectLink(instance.project_id)] : null,
    operator && claimed !== null && claimed !== instance.project_id ? ["The domain says", [word(claimed), h("span", { class: "note" }, "not believed")]] : null,
    operator ? ["Confirmed", [h("span", { class: `badge ${instance.verified ? "info" : "warning"}` }, instance.trust), " ", h("span", { class: "note" }, session.open && !instance.verified ? "Nova is not asked here" : TRUST[instance.trust])]] : null,
    instance.host === null ? null : ["Host", [hostLink(instance.host), h("span", { class: "note" }, "since ", ago(instance.since))]],
    instance.domain === null ? null : ["Domain", h("code", {}, word(instance.domain))],
    instance.flavor === null ? null : ["Flavor", word(instance.flavor)],
  ]);
}

function guest({ state, agent_version: version, as_of: time }) {
  if (state !== "answered") return [h("span", { class: "unknown" }, "no answer"), " ", h("a", { href: at(["findings"], { code: state }) }, word(state))];
  return [
    "answered ",
    time === null ? null : ago(time),
    version === null ? null : [", version ", word(version)],
  ];
}

// --- one disk -----------------------------------------------------------------------------------

function oneDisk(disk, instance, actions) {
  const here = instance.filesystems.filter((one) => one.place !== "spans" && one.disks.includes(disk.target));
  return h(
    "section",
    { class: "card disk" },
    h("h2", {}, word(disk.target), " ", h("span", { class: "quiet" }, KINDS[disk.kind] ?? disk.kind, ", ", word([disk.storage, disk.format].filter(Boolean).join(", ")))),
    group([promised(disk, instance), held(disk, instance), ...shared(disk), claimed(disk, instance), used(disk, instance), reclaimable(disk, instance)], { frame: disk.virtual_bytes }),
    here.length ? filesystems(`Filesystems on ${visible(disk.target)}, as the guest tells`, here) : null,
    disk.findings.length ? findings(disk.findings, narrowed(instance), actions) : null,
    evidence(disk),
  );
}

function why(codes, disk, instance) {
  const known = new Set([...disk.findings, ...instance.findings].map((one) => one.code));
  return codes.find((code) => known.has(code)) ?? null;
}

function promised(disk, instance) {
  return disk.virtual_bytes === null
    ? { label: "Promised", low: null, reason: why([...NO_SIZE, ...NO_HELD, ...OF_THE_DOMAIN], disk, instance) }
    : { label: "Promised", color: "promised", low: disk.virtual_bytes };
}

function held(disk, instance) {
  return disk.host_allocated_bytes === null
    ? { label: "Held", low: null, reason: why([...NO_HELD, ...OF_THE_DOMAIN], disk, instance) }
    : { label: "Held", color: "held", low: disk.host_allocated_bytes, note: disk.host_allocated_source === "qemu" ? "by QEMU's count" : null };
}

function shared(disk) {
  return disk.backing_bytes ? [{ label: "Shared images", color: "shared", low: disk.backing_bytes, note: "charged to nobody" }] : [];
}

function claimReason(disk, instance) {
  return silence(instance) ?? why(NO_CLAIM, disk, instance) ?? "no-filesystem";
}

function claimed(disk, instance) {
  if (disk.guest_used_bytes === null) return { label: "Guest says", low: null, reason: claimReason(disk, instance) };
  const of = disk.guest_total_bytes;
  return { label: "Guest says", color: "claimed", low: disk.guest_used_bytes, note: of === null ? null : ["of filesystems of ", size(of)] };
}

function used(disk, instance) {
  const { bytes, low, high, basis } = disk.used;
  if (high === null) return { label: "Used", low: null, reason: claimReason(disk, instance), note: low > 0 ? ["at least ", size(low)] : null };
  if (bytes === null) {
    const reason = basis === "guest-partial" ? "the guest's word does not cover the disk" : claimReason(disk, instance);
    return { label: "Used", color: "used", low, high, value: [unknown(reason)], note: ["between ", low === high ? size(low) : [size(low), " and ", size(high)]] };
  }
  return { label: "Used", color: "used", low, high, best: low === high ? null : bytes, value: size(bytes), note: low === high ? null : ["between ", size(low), " and ", size(high)] };
}

function reclaimable(disk, instance) {
  const { low, high, estimate, how } = disk.reclaimable;
  const label = "Reclaimable";
  if (high === null) return { label, low: null, reason: why([...NO_HELD, ...OF_THE_DOMAIN], disk, instance) };
  return {
    label,
    color: "reclaimable",
    low,
    high,
    best: low === high ? null : estimate,
    value: low === high ? size(low) : estimate === null ? unknown(claimReason(disk, instance)) : ["about ", size(estimate)],
    note: low === high ? null : bounds(low, high),
    todo: HOW[how],
  };
}

function filesystems(caption, found) {
  return table(caption, FILESYSTEMS, found);
}

const FILESYSTEMS = [
  { title: "Mounted at", cell: (one) => (one.mountpoint === null ? h("span", { class: "quiet" }, "nowhere") : h("code", {}, name(one.mountpoint))) },
  { title: "Filesystem", cell: (one) => [name(one.type), " ", h("span", { class: "quiet" }, name(one.name))] },
  { title: "Used", numeric: true, cell: claim },
  { title: "Size", numeric: true, cell: (one) => (one.total_bytes === null ? unknown() : size(one.total_bytes)) },
  { title: "Where", cell: (one) => [one.place === "spans" ? word(one.disks.join(", ")) : null, one.place === "spans" ? ": " : null, PLACES[one.place] ?? one.place] },
];

function claim({ used_bytes: used, total_bytes: total }) {
  if (used === null) return unknown("agent-without-byte-counts");
  // A guest may say anything: only what can be is drawn.
  const drawable = total !== null && used >= 0 && used <= total;
  return h("span", { class: "with-bar" }, size(used), drawable ? small("claimed", used, total, {}) : null);
}

function evidence(disk) {
  const { libvirt } = disk;
  const entries = [
    ["Length of the image", disk.container_bytes, "its end, not its use"],
    ["Highest offset written", disk.high_water_bytes, "a hint, never usage"],
  ]
    .filter(([, bytes]) => bytes !== null)
    .map(([name, bytes, note]) => [name, [size(bytes), " ", h("span", { class: "note" }, note)]]);
  if (libvirt !== null) {
    const triple = ["capacity", "allocation", "physical"].map((name) => [`${name} `, libvirt[name] === null ? unknown() : size(libvirt[name]), " "]);
    entries.push(["libvirt's block statistics", [triple, h("span", { class: "note" }, "evidence of ", ago(libvirt.as_of))]]);
  }
  if (disk.source !== null) entries.push(["Stored in", h("code", {}, word(disk.source))]);
  if (disk.serial !== null) entries.push(["Serial", h("code", {}, word(disk.serial))]);
  return entries.length ? h("details", {}, h("summary", {}, "More about ", word(disk.target)), facts(entries)) : null;
}

// --- elsewhere ----------------------------------------------------------------------------------

function sightings(others) {
  return h(
    "section",
    {},
    h("h2", {}, "Also sighted elsewhere"),
    h("p", {}, "These hosts report the same instance. They are not believed, and their bytes count as the host's."),
    table(
      "Other sightings",
      [
        { title: "Host", cell: (one) => hostLink(one.host) },
        { title: "Trust", cell: (one) => h("span", { class: "badge warning" }, one.trust) },
        { title: "Held there", numeric: true, cell: (one) => size(one.host_allocated_bytes) },
        { title: "Seen", cell: (one) => seen(one.as_of) },
        { title: "Since", cell: (one) => ago(one.since) },
      ],
      others,
    ),
  );
}
