import assert from 'node:assert/strict'
import { test } from 'node:test'

import { handlers } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { Broadcaster, metrics, sse } from './index.ts'
import { testStream } from './testing.ts'

test('[broadcast 6.3] metrics() gives the figures of stats() as Prometheus text', async () => {
  const orders = new Broadcaster()
  const quiet = new Broadcaster()
  const app = testApp([metrics({ orders, 'qu"iet\\\n': quiet }), sse(() => orders)])
  const stream = await testStream(app, '/')
  const left = await testStream(app, '/')
  void orders.publish('one')
  void orders.publish('two')
  await stream.next()
  await left.next()
  left.leave()
  await left.ended

  const response = await app.get('/metrics')
  response.assertOk().assertHeader('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
  const samples = new Map(
    response.body
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  )
  const of = (name: string, more = ''): number | undefined =>
    samples.get(`wakerobin_broadcaster_${name}{broadcaster="orders"${more}}`)
  const stats = orders.stats()
  assert.deepEqual(
    {
      subscribers: of('subscribers'),
      behind: of('behind'),
      mostBehind: of('most_behind_events'),
      historyEvents: of('history_events'),
      historyBytes: of('history_bytes'),
      published: of('published_total'),
      opened: of('opened_total'),
      sent: of('sent_total'),
      dropped: of('dropped_total'),
      replayed: of('replayed_total'),
      gaps: of('gaps_total'),
      ended: Object.fromEntries(
        Object.keys(stats.ended).map((each) => [each, of('ended_total', `,reason="${each}"`)]),
      ),
    },
    stats,
  )
  assert.equal(stats.subscribers, 1)
  assert.equal(stats.published, 2)
  assert.equal(stats.ended.client, 1)
  assert.equal(samples.get('wakerobin_broadcaster_subscribers{broadcaster="qu\\"iet\\\\\\n"}'), 0)
})

test('every metric has its help and its type, before its samples, and every line ends', async () => {
  const app = testApp(metrics({ a: new Broadcaster(), b: new Broadcaster() }))
  const { body } = await app.get('/metrics')
  assert.ok(body.endsWith('\n'))
  const blocks = body.trimEnd().split(/\n(?=# HELP)/)
  assert.ok(blocks.length > 10)
  for (const block of blocks) {
    const [help, type, ...samples] = block.split('\n')
    const name = /^# HELP (\w+) \S.*\.$/.exec(help!)![1]!
    const kind = name.endsWith('_total') ? 'counter' : 'gauge'
    assert.equal(type, `# TYPE ${name} ${kind}`)
    assert.ok(samples.length >= 2)
    for (const sample of samples)
      assert.match(sample, new RegExp(`^${name}\\{broadcaster="[ab]"(,reason="[a-z-]+")?\\} \\d+$`))
  }
})

test('metrics() answers GET and HEAD of its path, and passes everything else on', async () => {
  const app = testApp(
    handlers(metrics({ a: new Broadcaster() }, { path: '/figures' }), (conn) => conn.ok('later')),
  )
  assert.match((await app.get('/figures?x=1')).body, /^# HELP/)
  const head = await app.request('HEAD', '/figures')
  assert.equal(head.status, 200)
  assert.equal(head.body, '')
  for (const [method, path] of [
    ['GET', '/metrics'],
    ['POST', '/figures'],
    ['GET', '/figures/'],
  ] as const)
    assert.equal((await app.request(method, path)).body, 'later')
})

test('metrics() of what is no broadcaster, or at what is no path, is refused', () => {
  const broadcaster = new Broadcaster()
  assert.throws(
    () => metrics({ a: 5 as never }),
    /^TypeError: Cannot show metrics of 5 as "a": expected a Broadcaster/,
  )
  assert.throws(
    () => metrics({ a: broadcaster }, { path: 'metrics' }),
    /^TypeError: Cannot show metrics at "metrics": expected a path such as \/metrics/,
  )
  assert.throws(
    () => metrics({ a: broadcaster }, '/metrics' as never),
    /^TypeError: Cannot show metrics with "\/metrics" as options: expected an object/,
  )
  assert.throws(
    () => metrics({ a: broadcaster }, { paht: '/figures' } as never),
    /^TypeError: Cannot show metrics with paht: there is no such option; there is path$/,
  )
})
