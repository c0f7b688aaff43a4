// SPDX-License-Identifier: Apache-2.0
// The past of a project or of an instance, asked for and drawn.

import { chart } from "./chart.js";
import { get, nextMarker } from "./client.js";
import { at, h } from "./dom.js";
import { choice, empty, trouble } from "./parts.js";
import { now } from "./words.js";

const PER_PAGE = 500;
const DAY = 24 * 3600_000;
const INTERVALS = { hour: 3600_000, day: DAY };
const SPANS = [1, 7, 30, 90];

/** How many days a view shows, by its query. */
export function days(query, usual) {
  const given = Number(query.days);
  return SPANS.includes(given) ? given : usual;
}

/** The points of so many days, or the Refusal instead. */
export async function past(asked, span, signal) {
  const start = new Date(now() - span * DAY).toISOString();
  const points = [];
  let marker = null;
  let interval = "hour";
  try {
    do {
      const page = await get("usages/history", { ...asked, start, limit: PER_PAGE, marker }, signal);
      points.push(...page.history);
      interval = page.interval;
      marker = nextMarker(page.history_links);
    } while (marker !== null);
  } catch (error) {
    if (signal.aborted) throw error;
    return { error };
  }
  return { points, interval };
}

/** The section that shows them; `words` is the address of the view. */
export function history({ error, points, interval }, span, words) {
  return h(
    "section",
    {},
    h("h2", {}, "History"),
    choice("The last", span, SPANS.map((one) => [one, one === 1 ? "day" : `${one} days`, at(words, { days: one })])),
    error ? trouble(error) : points.length === 0 ? empty("Nothing was recorded in this time. A point is kept each ", interval, ", and what was before is not made up.") : drawn(points, interval),
  );
}

function drawn(points, interval) {
  const number = (name) => (point) => (isUnknown(point.totals, name) ? null : point.totals[`${name}_bytes`]);
  return chart(
    points,
    [
      { name: "Promised", color: "promised", of: number("virtual") },
      { name: "Held", color: "held", of: number("host_allocated") },
      { name: "Guests say", color: "claimed", of: number("guest_used") },
    ],
    INTERVALS[interval],
  );
}

function isUnknown(totals, name) {
  return totals.disks > 0 && totals[`${name}_unknown`] === totals.disks;
}
