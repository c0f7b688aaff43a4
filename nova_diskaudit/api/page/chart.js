// SPDX-License-Identifier: Apache-2.0
// Lines over time. Where nobody reported there is a gap, and nothing is drawn across it.

import { h, svg } from "./dom.js";
import { scrolling } from "./parts.js";
import { readable, size, unknown, utc } from "./words.js";

const HEIGHT = 240;
const MARGIN = { top: 10, right: 12, bottom: 24, left: 66 };
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const NARROWEST = 240;
const HOUR = 3600_000;
const DAY = 24 * HOUR;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A chart that follows its width, with its legend and its numbers.
 *
 * `points` are {at, ...} from old to new, one an `interval` (milliseconds) at most. `series` are
 * {name, color, of: (point) => bytes or null}.
 */
export function chart(points, series, interval) {
  const times = points.map((point) => Date.parse(point.at));
  const lines = series.map((one) => ({ ...one, values: points.map(one.of) }));
  const frame = h("div", { class: "plot" });
  const readout = h("p", { class: "readout", "aria-hidden": "true" }, "\u00a0");
  const read = (index) => readout.replaceChildren(...(index === null ? ["\u00a0"] : spoken(points[index], lines, index)));
  const draw = () => frame.replaceChildren(plot(times, lines, interval, Math.max(NARROWEST, frame.clientWidth), read));
  new ResizeObserver(draw).observe(frame);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("ul", { class: "legend" }, lines.map((line) => h("li", {}, h("span", { class: `swatch line ${line.color}`, "aria-hidden": "true" }), line.name)))),
    frame,
    readout,
    numbers(points, lines),
  );
}

function spoken(point, lines, index) {
  return [
    `${utc(point.at).slice(0, 16)} UTC: `,
    lines.map(({ name, values }) => `${name.toLowerCase()} ${values[index] === null ? "unknown" : readable(values[index])}`).join(", "),
  ];
}

function plot(times, lines, interval, width, read) {
  const first = times[0];
  // A single point has no extent: give it its own interval.
  const extent = Math.max(interval, times.at(-1) - first);
  const most = Math.max(1, ...lines.flatMap((line) => line.values.filter((value) => value !== null)));
  const ticks = levels(most);
  const top = ticks.at(-1);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const x = (time) => MARGIN.left + (inner.width * (time - first)) / extent;
  const y = (bytes) => MARGIN.top + inner.height * (1 - bytes / top);
  const image = svg(
    "svg",
    { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": inWords(times, lines) },
    ticks.map((bytes) => [
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(bytes), y2: y(bytes) }),
      svg("text", { class: "axis", x: MARGIN.left - 8, y: y(bytes) + 4, "text-anchor": "end" }, label(bytes)),
    ]),
    moments(first, extent, inner.width).map(([time, text]) => [
      svg("line", { class: "mark", x1: x(time), x2: x(time), y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
      svg("text", { class: "axis", x: x(time), y: HEIGHT - 6, "text-anchor": "middle" }, text),
    ]),
    lines.map((line) => runs(times, line.values, interval).map((run) => drawn(run, line, times, x, y))),
  );
  const cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  image.append(cursor);
  image.addEventListener("pointermove", (event) => {
    const time = first + ((event.clientX - image.getBoundingClientRect().left - MARGIN.left) / inner.width) * extent;
    const index = times.reduce((best, one, at) => (Math.abs(one - time) < Math.abs(times[best] - time) ? at : best), 0);
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, x(times[index]));
    cursor.setAttribute("visibility", "visible");
    read(index);
  });
  image.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    read(null);
  });
  return image;
}

/** The pieces without a gap, as lists of indices. */
function runs(times, values, interval) {
  const found = [];
  let run = [];
  times.forEach((time, index) => {
    const follows = run.length > 0 && time - times[index - 1] <= 1.5 * interval;
    if (values[index] === null || !follows) {
      if (run.length) found.push(run);
      run = [];
    }
    if (values[index] !== null) run.push(index);
  });
  return run.length ? [...found, run] : found;
}

function drawn(run, { color, values }, times, x, y) {
  const places = run.map((index) => [x(times[index]), y(values[index])]);
  if (places.length === 1) return svg("circle", { class: `dot ${color}`, cx: places[0][0], cy: places[0][1], r: 2.5 });
  return svg("polyline", { class: `curve ${color}`, points: places.map((place) => place.map((one) => one.toFixed(1)).join(",")).join(" ") });
}

/** Round numbers of one unit, from 0 to what is not below `most`. */
function levels(most) {
  const unit = 1024 ** Math.floor(Math.log(most) / Math.log(1024));
  const step = unit * (STEPS.find((one) => (most / unit) <= 5 * one) ?? STEPS.at(-1));
  const found = [];
  for (let bytes = 0; bytes < most + step; bytes += step) found.push(bytes);
  return found;
}

function label(bytes) {
  return bytes === 0 ? "0" : readable(bytes).replace(/\.0+ /, " ");
}

/** Hours or days with their names, no more than there is room for. */
function moments(first, extent, width) {
  const room = Math.max(2, Math.floor(width / 90));
  const step = [HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY].find((one) => extent / one <= room) ?? 365 * DAY;
  const found = [];
  for (let time = Math.ceil(first / step) * step; time <= first + extent; time += step) {
    const date = new Date(time);
    const day = `${MONTHS[date.getUTCMonth()]} ${date.getUTCDate()}`;
    found.push([time, step < DAY && time % DAY !== 0 ? `${String(date.getUTCHours()).padStart(2, "0")}:00` : day]);
  }
  return found;
}

function inWords(times, lines) {
  const said = lines.map(({ name, values }) => {
    const known = values.filter((value) => value !== null);
    return known.length ? `${name.toLowerCase()} from ${readable(known[0])} to ${readable(known.at(-1))}` : `${name.toLowerCase()} unknown`;
  });
  return `From ${utc(times[0])} to ${utc(times.at(-1))}: ${said.join(", ")}.`;
}

function numbers(points, lines) {
  const body = scrolling("The numbers of the chart");
  const fill = () => {
    if (body.childElementCount > 0) return;
    const row = (point, index) =>
      h("tr", {}, h("th", { scope: "row" }, utc(point.at).slice(0, 16)), lines.map(({ values }) => h("td", { class: "numeric" }, values[index] === null ? unknown() : size(values[index]))));
    body.append(
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "UTC"), lines.map((line) => h("th", { scope: "col", class: "numeric" }, line.name)))), h("tbody", {}, points.map(row).reverse())),
    );
  };
  return h("details", { toggle: fill }, h("summary", {}, "The numbers"), body);
}
