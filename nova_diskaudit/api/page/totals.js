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

/** What could be given back, short enough for a cell: an estimate where there is one, else bounds.
 *
 * An estimate is told from a bound only by being more: a sum takes a disk's lower bound where it
 * has no estimate.
 */
export function reclaimable(totals) {
  if (!isKnown(totals, "host_allocated")) return unknown();
  const { reclaimable_low_bytes: low, reclaimable_likely_bytes: likely, reclaimable_high_bytes: high } = totals;
  if (likely > low) return guessed(totals);
  if (high === null) return tight("at least ", size(low));
  return low === high ? size(low) : h("span", { class: "unknown tight" }, between(low, high));
}

/** A sum of estimates; where a guest is silent, its disks may add to it. */
function guessed({ reclaimable_likely_bytes: likely, guest_used_unknown: silent }) {
  return silent ? tight(size(likely), " or more") : tight("about ", size(likely));
}

function tight(...words) {
  return h("span", { class: "tight" }, words);
}

/** The sums as bars. `guestReason` says why the guests' part is not known, if so. */
export function totalBars(totals, { hostReason = null, guestReason = null } = {}) {
  const missing = (name) => (totals[`${name}_unknown`] ? `without ${count(totals[`${name}_unknown`], "disk")}` : null);
  const row = (label, color, name, reason) =>
    isKnown(totals, name)
      ? { label, color, low: totals[`${name}_bytes`], note: missing(name) }
      : { label, low: null, reason };
  return group(
    [
      row("Promised", "promised", "virtual", null),
      row("Held", "held", "host_allocated", hostReason),
      row("Guests say", "claimed", "guest_used", guestReason),
      used(totals, guestReason),
      isKnown(totals, "host_allocated") ? gain(totals, hostReason) : { label: "Reclaimable", low: null, reason: hostReason },
    ],
    { frame: isKnown(totals, "virtual") ? totals.virtual_bytes : null },
  );
}

function used({ used_low_bytes: low, used_high_bytes: high }, reason) {
  if (low === null || high === null) return { label: "Used", low: null, reason, note: low ? ["at least ", size(low)] : null };
  return { label: "Used", color: "used", low, high };
}

function gain(totals, reason) {
  const { reclaimable_low_bytes: low, reclaimable_likely_bytes: likely, reclaimable_high_bytes: high } = totals;
  const label = "Reclaimable";
  if (high === null) return { label, low: null, reason, note: low > 0 ? ["at least ", size(low)] : null };
  if (likely === low) return { label, color: "reclaimable", low, high };
  return { label, color: "reclaimable", low, high, best: likely, value: guessed(totals), note: bounds(low, high) };
}

/** Bounds in words. */
export function bounds(low, high) {
  return ["at least ", size(low), ", at most ", size(high)];
}
