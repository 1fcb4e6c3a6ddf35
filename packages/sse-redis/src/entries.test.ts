import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import type { EventLog } from '@wakerobin/sse'
import { createClient } from 'redis'

import { RedisServer, skipReason } from '../fixtures/redis-server.ts'
import { redisLog } from './redis-log.ts'

describe('a stream that others write to, too', { skip: skipReason }, () => {
  let server: RedisServer
  const ends: (() => Promise<void>)[] = []
  before(async () => {
    server = await RedisServer.start({ after: (end) => ends.push(end) })
  })
  after(async () => {
    for (const end of ends.toReversed()) await end()
  })
  let keys = 0
  const open = (options?: { keyPrefix: string }): { log: EventLog; key: string } => {
    const key = `stream ${++keys}`
    const log = redisLog(createClient({ url: server.url, ...options }), { key })
    ends.push(() => log.close())
    return { log, key }
  }

  test('has their events, where they are such', async () => {
    const { log, key } = open()
    await server.command('XADD', key, '1-0', 'text', 'data: by hand\n\n')
    await server.command('XADD', key, '2-0', 'something', 'else')
    await server.command('XADD', key, '3-0', 'text', 'data: a\n\n', 'topics', '["t"]', 'key', 'k')
    const { records } = await log.read('', 10)
    assert.deepEqual(records, [
      { id: '1-0', text: 'data: by hand\n\n', topics: undefined, key: undefined },
      { id: '3-0', text: 'data: a\n\n', topics: ['t'], key: 'k' },
    ])
  })

  test('an event whose topics cannot be read is for nobody', async () => {
    const { log, key } = open()
    for (const topics of ['', 'private', '"private"', '[1]', '{"__proto__":1}', 'null'])
      await server.command('XADD', key, '*', 'text', 'data: secret\n\n', 'topics', topics)
    const id = await log.append({ text: 'data: open\n\n' })
    assert.deepEqual((await log.read('', 10)).records.map((record) => record.id), [id]) // prettier-ignore
  })

  test('is read past many entries that are no events', async () => {
    const { log, key } = open()
    const first = await log.append({ text: 'data: first\n\n' })
    for (let count = 0; count < 10; count++) await server.command('XADD', key, '*', 'no', 'event')
    const second = await log.append({ text: 'data: second\n\n' })
    const page = await log.read(first, 3)
    assert.deepEqual([page.records.map(({ id }) => id), page.missed], [[second], 0])
    const strange = String(await server.command('XADD', key, '*', 'no', 'event'))
    assert.deepEqual(await log.read(second, 3), { records: [], missed: 0, next: strange })
  })

  test('an event that was deleted by itself is not there, and who was at it is told', async () => {
    const { log, key } = open()
    const ids = await Promise.all(
      ['0', '1', '2', '3'].map((data) => log.append({ text: `data: ${data}\n\n` })),
    )
    await server.command('XDEL', key, ids[1]!)
    assert.deepEqual((await log.read(ids[0]!, 10)).records.map(({ id }) => id), ids.slice(2)) // prettier-ignore
    const page = await log.read(ids[1]!, 10)
    assert.deepEqual([page.missed, page.records.map(({ id }) => id)], [null, ids.slice(2)])
    assert.equal((await log.read('0-0', 10)).missed, null)
  })

  test('an id that was none of its, in the middle, leads to its end', async () => {
    const { log, key } = open()
    for (const id of ['1-0', '3-0', '5-0'])
      await server.command('XADD', key, id, 'text', 'data:\n\n')
    assert.deepEqual(await log.read('2-0', 10), { records: [], missed: null, next: '5-0' })
  })

  test('all that was trimmed away is missed by those who have not got it', async () => {
    const { log, key } = open()
    const ids = await Promise.all(
      ['0', '1'].map((data) => log.append({ text: `data: ${data}\n\n` })),
    )
    await server.command('XTRIM', key, 'MAXLEN', '0')
    assert.deepEqual(await log.bounds(), { first: undefined, last: ids[1] })
    assert.deepEqual(await log.read(ids[1]!, 10), { records: [], missed: 0, next: ids[1] })
    assert.deepEqual(await log.read(ids[0]!, 10), { records: [], missed: null, next: ids[1] })
    assert.deepEqual(await log.read('0-0', 10), { records: [], missed: 2, next: ids[1] })
    const id = await log.append({ text: 'data: 2\n\n' })
    assert.equal((await log.bounds()).first, id)
  })

  test('the prefix of the client is put before its key', async () => {
    const { log, key } = open({ keyPrefix: 'shop:' })
    const id = await log.append({ text: 'data: hello\n\n' })
    assert.equal((await log.bounds()).first, id)
    assert.equal(await server.command('XLEN', `shop:${key}`), 1)
  })
})
