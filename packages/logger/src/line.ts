/** Lines made of parts. */

import type { LogEntry } from './entry.ts'
import { escapeControls, escapeQuoted } from './escape.ts'

/** What is logged of a request; nothing where it is undefined. */
export type Formatter<Line = string> = (entry: LogEntry) => Line | undefined

/** A part of a line. Undefined is written as `-`. Control characters are written out: `\x0a`. */
export type Part = (entry: LogEntry) => string | number | undefined

/** A colour of the terminal. */
export type Color = keyof typeof codes

const codes = { red: 31, green: 32, yellow: 33, cyan: 36, gray: 90 } as const

/** Makes a format of parts, which are functions of the entry, and text around them.
 *
 * ```ts
 * import { logger, logLine, parts } from '@wakerobin/logger'
 *
 * const { method, url, status, requestHeader } = parts
 * const app = [
 *   logger({ format: logLine`${method} ${url} -> ${status} ${requestHeader('x-request-id')}` }),
 *   'hello',
 * ]
 * ``` */
export function logLine(texts: TemplateStringsArray, ...parts: readonly Part[]): Formatter {
  return asIs((entry) => {
    let line = texts[0]!
    for (const [at, part] of parts.entries()) line += shown(part, entry) + texts[at + 1]!
    return line
  })
}

/** A part in a colour, where there are colours.
 * @param color Which; undefined for none. */
export function colored(part: Part, color: (entry: LogEntry) => Color | undefined): Part {
  const copy: Part = (entry) => part(entry)
  colors.set(copy, color)
  return copy
}

/** A part in quotes, with those inside it escaped; `"-"` where it is undefined. */
export function quoted(part: Part): Part {
  return (entry) => `"${escapeQuoted(String(part(entry) ?? '-'))}"`
}

/** A format whose lines are safe, so that nothing in them need be escaped any more: also where another format calls it,
 * and returns its line. */
export function asIs(format: Formatter): Formatter {
  return (entry) => {
    const line = format(entry)
    if (line !== undefined) safeLines?.add(line)
    return line
  }
}

/** What a format says of an entry, on one line where it is text. */
export function lineOf<Line>(format: Formatter<Line>, entry: LogEntry): Line | string | undefined {
  const around = safeLines
  const safe = new Set<string>()
  safeLines = safe
  try {
    const line = format(entry)
    return typeof line === 'string' && !safe.has(line) ? escapeControls(line) : line
  } finally {
    safeLines = around
  }
}

/** Those that were made for the line at work. */
let safeLines: Set<string> | undefined

const colors = new WeakMap<Part, (entry: LogEntry) => Color | undefined>()

function shown(part: Part, entry: LogEntry): string {
  const text = escapeControls(String(part(entry) ?? '-'))
  const color = entry.hasColors ? colors.get(part)?.(entry) : undefined
  return color === undefined || text === '' ? text : `\x1b[${codes[color]}m${text}\x1b[39m`
}
