// SPDX-License-Identifier: Apache-2.0
// Numbers, times and other people's words as one reads them.

import { at, h } from "./dom.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const GROUPED = new Intl.NumberFormat("en");
/** A report that is older is called stale, as the sums of projects do unless they are told otherwise. */
const STALE_SECONDS = 3600;
const LONGEST = 200;
const LONGEST_SENTENCES = 1200;
const LONGEST_IN_A_CELL = 48;

// Characters that show nothing, or move their neighbours: controls, formats, surrogates, separators
// of lines, and the fillers that are letters by name only.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]/gu;

let exactly = false;
let behindMilliseconds = 0;

/** Bytes in binary units with three significant digits, as the command line prints them. */
export function readable(count) {
  let value = count;
  let unit = 0;
  // 1023.95 would be shown as 1024: that is 1.00 of the next unit.
  while (Math.abs(value) >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0) return `${count} B`;
  const long = Math.abs(value);
  return `${value.toFixed(long < 9.995 ? 2 : long < 99.95 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Bytes to the last one. Sums beyond 8 PiB come to a browser rounded, and that is said. */
export function exact(count) {
  const about = Number.isSafeInteger(count) ? "" : "about ";
  return `${about}${GROUPED.format(count)} ${count === 1 ? "byte" : "bytes"}`;
}

/** Bytes as an element: readable with the exact number behind it, or the other way round. */
export function size(count) {
  return spelled(h("data", { class: "size", value: count }));
}

/** Whether sizes are shown to the last byte, from now on and in what is already there. */
export function showExactly(wanted) {
  exactly = wanted;
  document.querySelectorAll("data.size").forEach(spelled);
}

function spelled(element) {
  const count = Number(element.value);
  element.textContent = exactly ? exact(count) : readable(count);
  element.title = exactly ? readable(count) : exact(count);
  return element;
}

/** From here to there, as elements. */
export function between(low, high) {
  return low === high ? size(low) : h("span", {}, size(low), " to ", size(high));
}

/** Why a number is missing, where that is no finding. */
const REASONS = {
  "no-filesystem": "no filesystem of the guest lies on it alone",
  "not-told": "the report does not say why",
};

/** What is not known, and the code that says why; of a finding with the way to what to do. */
export function unknown(reason = null) {
  return h("span", { class: "unknown" }, "unknown", reason === null ? null : [" ", h("span", { class: "why" }, why(reason))]);
}

function why(reason) {
  const isCode = /^[a-z]+(-[a-z]+)+$/.test(reason) && !(reason in REASONS);
  return isCode ? h("a", { href: at(["findings"], { code: reason }) }, reason) : (REASONS[reason] ?? reason);
}

/** A number with its noun. */
export function count(number, noun, plural = `${noun}s`) {
  return `${GROUPED.format(number)} ${number === 1 ? noun : plural}`;
}

/** Another's word: isolated, so that it turns no line around, and with nothing invisible in it. */
export function word(text, attributes = {}, most = LONGEST) {
  const shown = [...visible(text)];
  if (shown.length <= most) return h("bdi", attributes, shown.join(""));
  return h("bdi", { ...attributes, title: shown.slice(0, 2000).join("") }, `${shown.slice(0, most).join("")}\u2026`);
}

/** The same of a service or an agent, which may take more words. */
export function sentences(text) {
  return word(text, {}, LONGEST_SENTENCES);
}

/** And for where there is little room. */
export function name(text) {
  return word(text, {}, LONGEST_IN_A_CELL);
}

/** The begin of an id, with all of it behind. */
export function shortId(id) {
  return [...id].length > 12 ? word(id, {}, 8) : word(id);
}

export function visible(text) {
  return String(text).replace(INVISIBLE, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

// --- times --------------------------------------------------------------------------------------

/** The service's clock, by the Date of an answer: ages are not to depend on the visitor's. */
export function heardTime(date) {
  const told = Date.parse(date ?? "");
  if (!Number.isNaN(told)) behindMilliseconds = told - Date.now();
}

export function now() {
  return new Date(Date.now() + behindMilliseconds);
}

function secondsSince(time) {
  // The Date of an answer has no fractions of a second.
  return Math.max(0, (now() - new Date(time)) / 1000);
}

export function isStale(time) {
  return secondsSince(time) > STALE_SECONDS;
}

/** How long ago, with the time itself behind it. */
export function ago(time) {
  const seconds = secondsSince(time);
  const minutes = seconds / 60;
  const hours = minutes / 60;
  let words = "just now";
  if (hours >= 48) words = `${Math.floor(hours / 24)} days ago`;
  else if (minutes >= 120) words = `${Math.floor(hours)} hours ago`;
  else if (seconds >= 120) words = `${Math.floor(minutes)} min ago`;
  else if (seconds >= 10) words = `${Math.floor(seconds)} s ago`;
  return h("time", { datetime: time, title: utc(time) }, words);
}

export function utc(time) {
  return `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
