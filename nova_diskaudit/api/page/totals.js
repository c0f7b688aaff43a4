// SPDX-License-Identifier: Apache-2.0
// Sums over disks, of an instance or of a project, with what they could not include.

import { group } from "./bars.js";
import { h } from "./dom.js";
import { between, count, size, unknown } from "./words.js";

/** A sum, with the number of disks that are missing in it; of nothing known it is no sum. */
export function sum(totals, name, reason = null) {
  const missing = totals[`${name}_unknown`];
  if (totals.disks > 0 && missing === totals.disks) return unknown(reason);
  const bytes = size(totals[`${name}_bytes`]);
  return missing ? [bytes, " ", h("span", { class: "note" }, `without ${count(missing, "disk")}`)] : bytes;
}

function isKnown(totals, name) {
  return totals.disks === 0 || totals[`${name}_unknown`] < totals.disks;
}

/** Whether there is an estimate of what could be given back, and not only bounds. */
export function hasEstimate(totals) {
  return isKnown(totals, "host_allocated") && isKnown(totals, "guest_used");
}

/** What could be given back, short enough for a cell. */
export function reclaimable(totals) {
  if (!isKnown(totals, "host_allocated")) return unknown();
  const { reclaimable_low_bytes: low, reclaimable_likely_bytes: likely, reclaimable_high_bytes: high } = totals;
  if (hasEstimate(totals)) {
    return likely === 0 ? size(0) : ["about ", size(likely)];
  }
  if (high === null || high === undefined) return low > 0 ? ["at least ", size(low)] : unknown("guest silent");
  return h("span", { class: "unknown" }, between(low, high));
}

/** The sums as bars. `guestReason` says why the guests' part is not known, if so. */
export function totalBars(totals, { hostReason = null, guestReason = null } = {}) {
  const missing = (name) => (totals[`${name}_unknown`] ? `without ${count(totals[`${name}_unknown`], "disk")}` : null);
  const row = (label, color, name, reason) =>
    isKnown(totals, name)
      ? { label, color, low: totals[`${name}_bytes`], note: missing(name) }
      : { label, low: null, reason };
  const bounds = (label, color, low, high, best, reason) =>
    high === null || high === undefined
      ? { label, low: null, reason, value: low > 0 ? h("span", {}, "at least ", size(low)) : undefined }
      : { label, color, low, high, best };
  return group(
    [
      row("Promised", "promised", "virtual", null),
      row("Held", "held", "host_allocated", hostReason),
      row("Guests say", "claimed", "guest_used", guestReason),
      bounds("Used", "used", totals.used_low_bytes, totals.used_high_bytes, null, guestReason),
      isKnown(totals, "host_allocated")
        ? bounds(
            "Reclaimable",
            "reclaimable",
            totals.reclaimable_low_bytes,
            totals.reclaimable_high_bytes,
            hasEstimate(totals) ? totals.reclaimable_likely_bytes : null,
            hostReason,
          )
        : { label: "Reclaimable", low: null, reason: hostReason },
    ],
    { frame: isKnown(totals, "virtual") ? totals.virtual_bytes : null },
  );
}
