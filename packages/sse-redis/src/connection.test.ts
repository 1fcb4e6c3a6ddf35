import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { createClient } from 'redis'

import { Proxy } from '../fixtures/proxy.ts'
import { RedisServer, skipReason } from '../fixtures/redis-server.ts'
import { Connection } from './connection.ts'

describe('a connection to Redis', { skip: skipReason }, () => {
  test('is over when Redis is silent for too long while an answer is due', async (t) => {
    const server = await RedisServer.start(t)
    const connection = new Connection(createClient({ url: server.url }), 1_000)
    await connection.open()
    server.pause()
    const first = connection.command(['PING'])
    const second = connection.command(['PING'])
    const expected = { name: 'LostError', message: 'Redis has not answered for 1000 ms' }
    await assert.rejects(first, expected)
    await assert.rejects(second, expected)
    await assert.rejects(connection.command(['PING']), expected)
    assert.equal((await connection.over).message, expected.message)
    server.proceed()
  })

  test('is over also where Redis takes it and says nothing', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    proxy.onAnswer = () => {}
    const connection = new Connection(createClient({ url: proxy.url }), 1_000)
    await assert.rejects(connection.open(), { message: 'Redis has not answered for 1000 ms' })
  })

  test('that is ended while it opens leaves nothing open', async (t) => {
    const server = await RedisServer.start(t)
    const connection = new Connection(createClient({ url: server.url, name: 'early' }), 5_000)
    const opening = connection.open()
    connection.end(new Error('the log is closed'))
    await assert.rejects(opening, { name: 'LostError', message: 'the log is closed' })
    // Redis may not have seen yet that it is closed.
    while (/name=early/.test(String(await server.command('CLIENT', 'LIST')))) await sleep(5)
  })

  test('says the code of an error that has no message, as that of a name with two addresses', async () => {
    const connection = new Connection(createClient(), 5_000)
    connection.end(Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }))
    await assert.rejects(connection.command(['PING']), { message: 'ECONNREFUSED' })
  })

  test('has the options of its client, but for those that would answer in another form', async (t) => {
    const server = await RedisServer.start(t)
    const template = createClient({
      url: `${server.url}/3`,
      name: 'shop',
      commandsQueueMaxLength: 1,
      disableOfflineQueue: true,
      socket: { reconnectStrategy: () => 10 },
      RESP: 3,
    })
    const connection = new Connection(template, 5_000)
    t.after(async () => connection.end(new Error('the test is over')))
    await connection.open()
    const list = String(await connection.command(['CLIENT', 'LIST']))
    assert.match(list, /name=shop .*db=3 .*resp=2/)
    await Promise.all([1, 2, 3].map(() => connection.command(['PING'])))
    assert.equal(template.isOpen, false, 'the client itself is not touched')
  })
})
