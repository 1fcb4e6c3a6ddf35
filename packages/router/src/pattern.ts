/** The path of a route, parsed: `/users/:id`, `/files/:name.:ext`, `/static/*`. */

import { describe } from '@wakerobin/core/adapter'

import { normalizeText } from './request-path.ts'

/** The path of a route. */
export interface Pattern {
  /** As it is shown: with a slash in front and none at the end. */
  readonly text: string
  /** What it matches, whatever its parameters are called: two patterns of one shape are one route. */
  readonly shape: string
  readonly segments: readonly Segment[]
  /** The place of the segment of each parameter. */
  readonly places: ReadonlyMap<string, number>
  /** How many segments stand before the wildcard; undefined without one. */
  readonly wildcardAt: number | undefined
  /** Whether a segment has text and parameters. */
  readonly isMixed: boolean
  /** As rou3 writes it. */
  readonly rou3: string
}

interface Segment {
  readonly kind: Kind
  /** What stands around the parameters: one text more than there are. */
  readonly texts: readonly string[]
  /** What the parameters are called. */
  readonly names: readonly string[]
  /** With `{}` for each parameter, and `{*}` for the wildcard, which no text has. */
  readonly shape: string
}

/** The kinds of segments, the most specific first: `users`, `v:major`, `:name.json`, `:name.:ext`, `:id`, `*`. */
const kinds = ['exact', 'prefix', 'suffix', 'mixed', 'param', 'wildcard'] as const
type Kind = (typeof kinds)[number]

/** Parses the path of a route.
 *
 * Slashes at the beginning and the end count for nothing. A parameter is `:` and a name, and goes up to the
 * next slash, or the text after it; `*` stands for all the rest, as the last segment.
 * @param label What is being added, for messages: `the route GET`.
 * @throws {TypeError} When `path` is not text.
 * @throws {SyntaxError} When it cannot be parsed. */
export function parsePattern(path: unknown, label: string): Pattern {
  if (typeof path !== 'string')
    throw new TypeError(`Cannot add ${label} ${describe(path)}: a path is text, as "/users/:id"`)
  const refuse: Refuse = (why) => {
    throw new SyntaxError(`Cannot add ${label} ${describe(path)}: ${why}`)
  }
  const inner = path.replace(/^\//, '').replace(/\/$/, '')
  const places = new Map<string, number>()
  const sources = inner === '' ? [] : inner.split('/')
  const segments = sources.map((source, at) =>
    parseSegment(source, at, at === sources.length - 1, places, refuse),
  )
  const wildcardAt = segments.findIndex(({ kind }) => kind === 'wildcard')
  return {
    text: `/${inner}`,
    shape: `/${segments.map(({ shape }) => shape).join('/')}`,
    segments,
    places,
    wildcardAt: wildcardAt === -1 ? undefined : wildcardAt,
    isMixed: segments.some(({ kind }) => mixedKinds.has(kind)),
    rou3: `/${segments.map(({ rou3 }) => rou3).join('/')}`,
  }
}

const mixedKinds: ReadonlySet<Kind> = new Set<Kind>(['prefix', 'suffix', 'mixed'])

/** Orders patterns, the most specific first: segment by segment by their kind, then the one with fewer segments. No
 * two shapes are equal, so that it does not matter what was added first. */
export function comparePatterns(one: Pattern, other: Pattern): number {
  const shared = Math.min(one.segments.length, other.segments.length)
  for (let at = 0; at < shared; at++) {
    const order = compareSegments(one.segments[at]!, other.segments[at]!)
    if (order !== 0) return order
  }
  return one.segments.length - other.segments.length
}

function compareSegments(one: Segment, other: Segment): number {
  return (
    kinds.indexOf(one.kind) - kinds.indexOf(other.kind) ||
    // Of `v:x` and `ver:x` the longer text says more.
    other.texts.join('').length - one.texts.join('').length ||
    (one.shape < other.shape ? -1 : Number(one.shape > other.shape))
  )
}

/** A parameter of a path that matches a pattern: not decoded, undefined where the pattern has none of this name.
 *
 * Where text stands between two parameters, the first of them takes as little as it can. */
export function readParam(pattern: Pattern, path: string, name: string): string | undefined {
  const at = pattern.places.get(name)
  if (at === undefined) return undefined
  const { texts, names } = pattern.segments[at]!
  const segment = segmentOf(path, at)
  let rest = segment.slice(texts[0]!.length, segment.length - texts.at(-1)!.length)
  // Each has one character at least; the last one all that is left.
  for (let index = 0; index < names.length - 1; index++) {
    const between = texts[index + 1]!
    const end = rest.indexOf(between, 1)
    if (names[index] === name) return rest.slice(0, end)
    rest = rest.slice(end + between.length)
  }
  return rest
}

function segmentOf(path: string, at: number): string {
  let start = 1
  for (let passed = 0; passed < at; passed++) start = path.indexOf('/', start) + 1
  const end = path.indexOf('/', start)
  return end === -1 ? path.slice(start) : path.slice(start, end)
}

type Refuse = (why: string) => never

function parseSegment(
  source: string,
  at: number,
  isLast: boolean,
  places: Map<string, number>,
  refuse: Refuse,
): Segment & { readonly rou3: string } {
  if (source === '') refuse('it has two slashes in a row, which no request has here')
  if (/^(?:\.|%2e){1,2}$/i.test(source)) refuse(`clients resolve ${describe(source)} themselves`)
  if (source.includes('*')) {
    if (source !== '*' || !isLast)
      refuse('"*" stands alone, as the last segment, and has no name: conn.param(\'*\') reads it')
    return { kind: 'wildcard', texts: ['*'], names: [], shape: '{*}', rou3: '**' }
  }
  // At even indexes there is text, at odd ones names.
  const parts = source.split(/:([A-Za-z_][A-Za-z0-9_]*)/)
  const texts = parts.filter((_, at) => at % 2 === 0).map((text) => checkText(text, refuse))
  const found = parts.filter((_, at) => at % 2 === 1)
  for (const name of found) {
    if (places.has(name)) refuse(`it has two parameters ${describe(name)}`)
    places.set(name, at)
  }
  if (texts.slice(1, -1).includes(''))
    refuse('nothing tells where the first of two parameters ends: put text between them')
  return {
    kind: kindOf(texts),
    texts,
    names: found,
    shape: texts.join('{}'),
    // By numbers: `_` and others mean something to rou3, and we read parameters ourselves.
    rou3: texts
      .map((text, index) => (index === 0 ? '' : `:p${at}_${index}`) + rou3Text(text, index))
      .join(''),
  }
}

function checkText(text: string, refuse: Refuse): string {
  if (text.includes(':'))
    refuse(
      'after ":" comes the name of a parameter, of letters, digits and "_"; text with a colon is written "%3A"',
    )
  const special = /[(){}?#\\]/.exec(text)?.[0]
  if (special !== undefined)
    refuse(
      `${describe(special)} means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "${escapeOf(special)}"`,
    )
  if (/%(?![0-9a-f]{2})/i.test(text)) refuse('"%" begins an escape; write "%25" for the sign')
  return normalizeText(text)
}

function escapeOf(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`
}

function kindOf(texts: readonly string[]): Kind {
  const [first, last] = texts
  if (texts.length === 1) return 'exact'
  if (texts.length > 2) return 'mixed'
  if (first === '') return last === '' ? 'param' : 'suffix'
  return last === '' ? 'prefix' : 'mixed'
}

/** Text for rou3, where these would have a meaning, and a letter or `$` behind a name would belong to it. */
function rou3Text(text: string, index: number): string {
  return text.replace(index === 0 ? /[:*+()]/g : /[:*+()]|^[\w$]/g, String.raw`\$&`)
}
