// SPDX-License-Identifier: Apache-2.0
// Questions to the API that this page came from. They only read.

import { heardTime } from "./words.js";

const PATIENCE_MILLISECONDS = 30_000;

// A token is worth all that its owner may do in the cloud. It is kept here and nowhere else: no
// storage of the browser has it, and whoever loads the page anew is asked again.
let token = null;

export function setToken(given) {
  token = given;
}

export function hasToken() {
  return token !== null;
}

/** Whether it can be sent as a token at all. */
export function isToken(text) {
  return /^[\x21-\x7e]{16,16000}$/.test(text);
}

/** An answer that is none, in the words of the API. */
export class Refusal extends Error {
  constructor({ status, code, title, detail, requestId = null }) {
    super(title);
    Object.assign(this, { status, code, title, detail, requestId });
  }
}

/** The answer to one question; `query` without what is null.
 *
 * Throws a Refusal, and whatever the signal says when it is given up.
 */
export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const address = `v1/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
  const patience = AbortSignal.timeout(PATIENCE_MILLISECONDS);
  let answer;
  let text;
  try {
    answer = await fetch(address, {
      headers: { Accept: "application/json", ...(token === null ? {} : { "X-Auth-Token": token }) },
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal({
      status: 0,
      code: "no-answer",
      title: "The service does not answer",
      detail: patience.aborted
        ? `It said nothing for ${PATIENCE_MILLISECONDS / 1000} seconds.`
        : "It could not be reached, or hung up.",
    });
  }
  heardTime(answer.headers.get("Date"));
  const requestId = answer.headers.get("X-Openstack-Request-Id");
  const body = decoded(text);
  if (answer.ok && body !== undefined) return body;
  const first = body?.errors?.[0] ?? {};
  throw new Refusal({
    status: answer.status,
    code: first.code ?? "not-understood",
    title: first.title ?? "This is not an answer of nova-diskaudit",
    detail: first.detail ?? `Something on the way answered instead, with status ${answer.status}.`,
    requestId: first.request_id ?? requestId,
  });
}

function decoded(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The marker of the following page, null on the last one. Only the marker of the link is believed. */
export function nextMarker(links) {
  const next = links.find((link) => link.rel === "next");
  return next ? new URL(next.href, location.href).searchParams.get("marker") : null;
}

/** Who asks: {kind: "operator" | "tenant" | "nobody"}, and for a tenant the project. */
export async function whoAmI(signal) {
  try {
    await get("hosts", { limit: 1 }, signal);
    return { kind: "operator", project: null };
  } catch (error) {
    if (error.status === 401) return { kind: "nobody", project: null };
    if (error.status !== 403 || !hasToken()) throw error;
  }
  const { usages } = await get("usages", { limit: 1 }, signal);
  return { kind: "tenant", project: usages[0]?.project_id ?? null };
}
