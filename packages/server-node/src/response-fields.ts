/** The header fields of a conn's response and of a response of node:http, each brought to the other. */

import type { ServerResponse } from 'node:http'

import { HeaderMap } from '@wakerobin/core'

/** Fields by their names in lower case. */
export type Fields = ReadonlyMap<string, Field>

interface Field {
  readonly name: string
  /** As on the wire, one for each line. */
  readonly values: readonly string[]
}

/** The fields of a conn's response. */
export function fieldsOf(headers: HeaderMap): Fields {
  const fields = new Map<string, { name: string; values: string[] }>()
  const raw = headers.toRawHeaders()
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!
    const key = name.toLowerCase()
    const field = fields.get(key)
    if (field === undefined) fields.set(key, { name, values: [raw[at + 1]!] })
    else field.values.push(raw[at + 1]!)
  }
  return fields
}

/** The fields that are set on a response of node's. */
export function fieldsOn(response: ServerResponse): Fields {
  const fields = new Map<string, Field>()
  // The types of Node 20 do not have it there.
  const names = (response as ServerResponse & { getRawHeaderNames(): string[] }).getRawHeaderNames()
  for (const name of names) {
    const value = response.getHeader(name)!
    const values = Array.isArray(value) ? value.map(String) : [String(value)]
    fields.set(name.toLowerCase(), { name, values })
  }
  return fields
}

/** Sets on node's response what differs from `fields`. */
export function setFields(response: ServerResponse, fields: Fields): void {
  const present = fieldsOn(response)
  for (const [key, { name }] of present) if (!fields.has(key)) response.removeHeader(name)
  for (const [key, field] of fields) {
    if (isSame(present.get(key), field)) continue
    const { name, values } = field
    response.setHeader(name, values.length === 1 ? values[0]! : values)
  }
}

/** Changes in `headers` what has changed between two looks at a response. */
export function applyChanges(headers: HeaderMap, before: Fields, after: Fields): void {
  for (const key of before.keys()) if (!after.has(key)) headers.delete(key)
  for (const [key, field] of after) {
    if (isSame(before.get(key), field)) continue
    headers.delete(key)
    headers.appendAll(
      HeaderMap.fromRawHeaders(field.values.flatMap((value) => [field.name, value])),
    )
  }
}

/** Puts fields in the place of all that there are.
 * @param raw `name, value…` as on the wire. */
export function replaceAll(headers: HeaderMap, raw: readonly string[]): void {
  for (const name of new Set(headers.keys())) headers.delete(name)
  headers.appendAll(HeaderMap.fromRawHeaders(raw))
}

function isSame(one: Field | undefined, other: Field): boolean {
  if (one === undefined || one.values.length !== other.values.length) return false
  return one.values.every((value, at) => value === other.values[at])
}
