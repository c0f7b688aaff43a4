// SPDX-License-Identifier: Apache-2.0
// Bars. All bars of a group have one scale. What is not known has no bar at all, only its reason;
// what is known within bounds is solid up to the lower one and hatched up to the upper one.

import { h } from "./dom.js";
import { between, unknown } from "./words.js";

function percent(part, whole) {
  return whole > 0 ? (100 * part) / whole : 0;
}

function place(element, from, to) {
  // By the style object, which a policy without inline styles allows.
  element.style.left = `${from}%`;
  element.style.width = `${Math.max(0, to - from)}%`;
  return element;
}

function span(name, from, to, scale) {
  return to > from ? place(h("span", { class: name }), percent(from, scale), percent(to, scale)) : null;
}

function tick(bytes, scale) {
  const mark = h("span", { class: "tick" });
  mark.style.left = `${percent(bytes, scale)}%`;
  return mark;
}

/** Where a frame ends that is no longer to be seen. */
function edge(frame, scale) {
  const mark = tick(frame, scale);
  mark.className = "edge";
  return mark;
}

function share(part, whole) {
  const number = percent(part, whole);
  return number > 0 && number < 1 ? "less than 1 %" : `${Math.round(number)} %`;
}

function drawn({ color, low, high = low, best = null }, scale, frame, inWords) {
  return h(
    "span",
    { class: `bar ${color}`, role: "img", "aria-label": inWords },
    frame === null ? null : span("frame", 0, frame, scale),
    span("solid", 0, low, scale),
    span("hatched", low, high, scale),
    frame !== null && high > frame ? edge(frame, scale) : null,
    best === null ? null : tick(best, scale),
  );
}

/** A group of bars, one below the other.
 *
 * `rows` are {label, color, low, high, best, value, note, todo}: `low` alone is a number that is known.
 * With `low` null it is not known, and `reason` says why. `frame` is what they are parts of, drawn
 * around all of them; null when that is not known.
 */
export function group(rows, { frame = null, whole = "what is promised" } = {}) {
  const known = rows.filter((row) => row.low !== null);
  const scale = Math.max(1, frame ?? 0, ...known.map((row) => row.high ?? row.low), ...known.map((row) => row.best ?? 0));
  return h(
    "dl",
    { class: "bars" },
    rows.map((row) =>
      h(
        "div",
        { class: "bar-row" },
        h("dt", {}, row.label),
        row.low === null
          ? h("dd", { class: "no-bar" }, row.value ?? unknown(row.reason), note(row))
          : h(
              "dd",
              {},
              drawn(row, scale, frame, said(row, frame, whole)),
              h("span", { class: "bar-value" }, h("span", {}, row.value ?? between(row.low, row.high ?? row.low)), note(row)),
            ),
      ),
    ),
  );
}

function note(row) {
  return row.note ? h("span", { class: row.todo ? "note wide" : "note" }, row.note, row.todo ? h("span", { class: "todo" }, row.todo) : null) : null;
}

function said({ low, high = low }, frame, whole) {
  if (!frame) return "of an unknown whole";
  const words = low === high ? share(low, frame) : `between ${share(low, frame)} and ${share(high, frame)}`;
  return `${words} of ${whole}`;
}

/** One small bar for a cell of a table: `part` of `of`, on a scale that the whole column has. */
export function small(color, part, of, { scale = of, inWords }) {
  return h(
    "span",
    { class: `bar small ${color}`, role: "img", "aria-label": inWords ?? `${share(part, of)} used` },
    span("frame", 0, of, scale),
    span("solid", 0, part, scale),
  );
}

/** What is held, with the part of it that could be given back; on the scale of the column. */
export function heldBar(held, reclaimable, scale) {
  const kept = Math.max(0, held - reclaimable);
  return h(
    "span",
    { class: "bar small held", role: "img", "aria-label": `${share(reclaimable, held)} of it likely reclaimable` },
    span("solid", 0, kept, scale),
    span("solid reclaimable", kept, Math.max(kept, held), scale),
  );
}

/** What the bars mean, once a page. */
export function legend() {
  const entry = (name, words) => h("li", {}, h("span", { class: `swatch ${name}`, "aria-hidden": "true" }), words);
  return h(
    "ul",
    { class: "legend", "aria-label": "How to read the bars" },
    entry("frame-swatch", "promised to the guest"),
    entry("solid", "certain"),
    entry("hatched", "somewhere up to here: only the bounds are known"),
    entry("tick-swatch", "best estimate"),
    h("li", {}, h("span", { class: "unknown" }, "unknown"), " has no bar, and a reason"),
  );
}
