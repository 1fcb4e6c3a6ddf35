/** Random routes and paths, judged by a list that is searched from end to end.
 *
 * A failure says the seed that has it: `WAKEROBIN_FUZZ_SEED=… npm test -- routing-property`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Conn, Method } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { router } from './index.ts'

const rounds = 300
const firstSeed = Number(process.env['WAKEROBIN_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32))

interface Route {
  readonly method: Method | 'all'
  readonly path: string
}

const signs = [..."-.~!$&'+,;=@", '%24', '%28', '%29', '%2A', '%3A']
const segments = [
  'a',
  'b',
  'constructor',
  '__proto__',
  'v1',
  'x.json',
  'c++',
  '*',
  ':p',
  ':p',
  'v:p',
  'x:p',
  ':p.json',
  ':p.:q',
  'v:p.x',
  ':p%61',
  // What may stand in a path unescaped: RFC 3986 §3.3.
  ...signs.map((sign) => `:p${sign}`),
  ...signs.map((sign) => `x${sign}:p`),
  ':p$:q',
  ':p-:q-:r',
  `~!$&'%28%29%2A+,;=@-_.`,
]
const requestSegments = [
  'a',
  'b',
  'constructor',
  '__proto__',
  'v1',
  'v2.x',
  'x.json',
  'q.json',
  'c++',
  'xa',
  'a.b',
  '.',
  'toString',
  '%2F',
  '%zz',
  'x$',
  'x$y',
  `~!$&'()*+,;=@-_.`,
  ...signs.map((sign) => `x${decodeURIComponent(sign)}`),
  ...signs.map((sign) => `x${decodeURIComponent(sign)}y`),
]
const methods = ['GET', 'POST', 'HEAD', 'all'] as const

test('the most specific route that has the path and the method is taken, in whatever order they were added; one that is there already is refused', async () => {
  for (let round = 0; round < rounds; round++) {
    const seed = (firstSeed + round) >>> 0
    try {
      await check(mulberry32(seed))
    } catch (cause) {
      throw new Error(`With WAKEROBIN_FUZZ_SEED=${seed}: ${String(cause)}`, { cause })
    }
  }
})

async function check(random: () => number): Promise<void> {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const routes = new Map<string, Route>()
  // Half of the rounds without text in segments: that is another way through the code.
  const pool = random() < 0.5 ? segments : segments.filter((it) => !/.:|:p./.test(it))
  for (let count = 1 + Math.floor(random() * 10); count > 0; count--) {
    const chosen = Array.from({ length: Math.floor(random() * 4) }, () => pick(pool))
    if (chosen.slice(0, -1).includes('*')) continue
    const path = `/${chosen.map((it, at) => it.replace(/:([pqr])/g, `:$1${at}`)).join('/')}`
    const method = pick(methods)
    const key = `${method} ${shapeOf(path)}`
    const twin = routes.get(key)
    if (twin === undefined) routes.set(key, { method, path })
    else assert.throws(() => appOf([twin, { method, path }]), /has its requests$/, `${key} twice`)
  }
  const list = [...routes.values()]
  const apps = [list, list.toReversed()].map(appOf)
  for (let count = 0; count < 20; count++) {
    const wanted = Array.from({ length: Math.floor(random() * 4) }, () => pick(requestSegments))
    const path = `/${wanted.join('/')}`
    const method = pick(['GET', 'POST', 'HEAD'] as const)
    const best = bestOf(list, method, wanted)
    for (const app of apps) {
      const response = await app.request(method, path)
      const taken = response.headers.get('route')
      const what = `${method} ${path} of ${list.map((it) => `${it.method} ${it.path}`).join(', ')}`
      assert.equal(response.status, best.length === 0 ? 404 : 200, what)
      if (method !== 'HEAD' && taken?.endsWith('*') === false)
        assert.equal(response.body, path.replaceAll('%2F', '/'), what)
      assert.ok(
        best.length === 0 || best.includes(taken!),
        `${what}: ${taken}, not ${best.join(' or ')}`,
      )
      assert.equal(taken, (await apps[0]!.request(method, path)).headers.get('route'), what)
    }
  }
}

/** What makes two paths one route: how text is escaped does not count, nor what parameters are called. */
function shapeOf(path: string): string {
  return path
    .split(/:[a-z]\d/)
    .map(decodeURIComponent)
    .join('{}')
}

function appOf(routes: readonly Route[]): ReturnType<typeof testApp> {
  const made = router()
  for (const { method, path } of routes) {
    const answer = (conn: Conn) => {
      const rebuilt = path
        .split(/:([pqr]\d)/)
        .map((part, at) => (at % 2 === 0 ? decodeURIComponent(part) : conn.param(part)!))
        .join('')
      return conn.withResponseHeader('route', `${method} ${path}`).ok(rebuilt)
    }
    if (method === 'all') made.all(path, answer)
    else made.any([method], path, answer)
  }
  return testApp(made)
}

/** The routes that no other one is more specific than: several where their text alone tells them apart. */
function bestOf(
  routes: readonly Route[],
  method: string,
  wanted: readonly string[],
): readonly string[] {
  const fitting = routes.filter(
    (route) =>
      matches(route.path, wanted) &&
      (route.method === 'all' ||
        route.method === method ||
        (method === 'HEAD' && route.method === 'GET')),
  )
  const best = fitting.filter((one) =>
    fitting.every((other) => compare(rankOf(one.path), rankOf(other.path)) <= 0),
  )
  // Of one path, the route for the very method, and last the one for all.
  const order = (route: Route) => [method, 'GET', 'all'].indexOf(route.method)
  return best
    .filter((one) =>
      best.every(
        (other) => shapeOf(other.path) !== shapeOf(one.path) || order(one) <= order(other),
      ),
    )
    .map((route) => `${route.method} ${route.path}`)
}

function matches(path: string, wanted: readonly string[]): boolean {
  const own = path === '/' ? [] : path.slice(1).split('/')
  if (own.at(-1) !== '*' && own.length !== wanted.length) return false
  if (own.at(-1) === '*' && wanted.length < own.length - 1) return false
  return own.every(
    (segment, at) =>
      segment === '*' ||
      new RegExp(
        `^${segment
          .split(/:[a-z]\d/)
          .map((text) => decodeURIComponent(text).replace(/[.+*?^${}()|[\]\\]/g, String.raw`\$&`))
          .join('.+')}$`,
      ).test(wanted[at]!),
  )
}

interface Rank {
  readonly kind: number
  readonly shape: string
}

function rankOf(path: string): readonly Rank[] {
  const own = path === '/' ? [] : path.slice(1).split('/')
  return own.map((segment) => ({ kind: kindOf(segment), shape: shapeOf(segment) }))
}

function kindOf(segment: string): number {
  if (segment === '*') return 5
  if (!segment.includes(':')) return 0
  const [before, ...after] = segment.split(/:[a-z]\d/)
  if (after.length > 1 || (before !== '' && after[0] !== '')) return 3
  return before !== '' ? 1 : after[0] !== '' ? 2 : 4
}

/** Below 0 where `a` is more specific. 0 where only the text of a segment tells them apart: whatever comes after it
 * does not count any more. */
function compare(a: readonly Rank[], b: readonly Rank[]): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const [one, other] = [a[at]!, b[at]!]
    const order = one.kind - other.kind || textOf(other).length - textOf(one).length
    if (order !== 0 || one.shape !== other.shape) return order
  }
  return a.length - b.length
}

function textOf({ shape }: Rank): string {
  return shape.replaceAll('{}', '')
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
