import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import { acceptsEventStream, wantsEventStream } from './accept.ts'
import { sse } from './index.ts'

/** The lines of `Accept`; whether an event stream is an answer; whether it is asked for by its name. */
const cases: [lines: readonly string[], accepts: boolean, wants: boolean][] = [
  // What clients send.
  [[], true, false], // nothing: RFC 9110 §12.5.1, anything will do
  [['text/event-stream'], true, true], // every EventSource
  [['*/*'], true, false], // curl, node's fetch
  [['application/json, text/event-stream'], true, true], // the Model Context Protocol
  [['application/json, text/plain, */*'], false, false], // axios
  [['application/json'], false, false],
  [['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'], false, false], // a page
  // Wildcards.
  [['text/*'], true, false],
  [['text/*, application/json'], true, false],
  [['application/*'], false, false],
  [['*/*;q=0.1'], true, false],
  [['*/*, */*;q=0.5'], true, false],
  [['*/*, application/json;q=0'], true, false],
  // Spelling.
  [['TEXT/Event-Stream'], true, true],
  [['Text/*'], true, false],
  [[' text/event-stream ;charset=utf-8'], true, true],
  [['text/event-stream;q=0.001'], true, true],
  [[',, text/event-stream ,'], true, true],
  [['text/event-streams'], false, false],
  [['xtext/event-stream'], false, false],
  [['text'], false, false],
  [[''], false, false],
  [[','], false, false],
  // More than one line is one list: RFC 9110 §5.3.
  [['application/json', 'text/event-stream'], true, true],
  [['*/*', 'application/json'], false, false],
  [['*/*', '*/*'], true, false],
  // A weight of 0 is a refusal: §12.4.2.
  [['text/event-stream;q=0'], false, false],
  [['text/event-stream; Q=0.000'], false, false],
  [['text/event-stream;q=0.0;ext=1'], false, false],
  [['text/event-stream;charset=utf-8 ; q=0'], false, false],
  [['*/*;q=0'], false, false],
  [['text/*;q=0'], false, false],
  // The most specific range decides.
  [['text/event-stream;q=0, */*'], false, false],
  [['*/*, text/event-stream;q=0'], false, false],
  [['text/event-stream;q=0, text/*'], false, false],
  [['text/*;q=0, */*'], false, false],
  [['text/*;q=0, text/event-stream'], true, true],
  [['*/*;q=0, text/event-stream'], true, true],
  [['*/*;q=0, text/*'], true, false],
  [['text/event-stream;q=0, text/event-stream'], true, true],
]

test('an event stream is an answer where it is accepted, and not beside other types by a wildcard alone', async () => {
  for (const [lines, accepts, wants] of cases) {
    const app = testApp((conn) =>
      conn.json({ accepts: acceptsEventStream(conn), wants: wantsEventStream(conn) }),
    )
    const response = await app.get('/', { headers: { Accept: lines } })
    assert.deepEqual(JSON.parse(response.body), { accepts, wants }, JSON.stringify(lines))
  }
})

test('an answer in place of an event stream says that it depends on Accept, once, beside what else it depends on', async () => {
  const cases: [before: readonly string[], after: readonly string[]][] = [
    [[], ['Accept']],
    [['Origin'], ['Origin', 'Accept']],
    [
      ['Accept-Encoding', 'Accept-Language'],
      ['Accept-Encoding', 'Accept-Language', 'Accept'],
    ],
    [['origin,accept'], ['origin,accept']],
    [
      ['Origin', 'Accept'],
      ['Origin', 'Accept'],
    ],
    [['*'], ['*']],
  ]
  for (const [before, after] of cases) {
    const app = testApp([
      (conn) => conn.withResponseHeader('Vary', before),
      sse(() => ['x']),
      sse(() => ['y']),
      (conn) => conn.json({ latest: 42 }),
    ])
    const answer = await app.get('/', { headers: { Accept: 'application/json' } })
    answer.assertJson({ latest: 42 }).assertHeader('Vary', after)
    const stream = await app.get('/', { headers: { Accept: 'text/event-stream' } })
    stream.assertHeader('Vary', before)
  }
})

test('an answer that connect has passed on for reasons of its own does not say that it depends on Accept', async () => {
  const app = testApp([sse(() => null), 'next'])
  ;(await app.get('/')).assertBody('next').assertNoHeader('Vary')
})
