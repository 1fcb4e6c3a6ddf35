import assert from 'node:assert/strict'
import { test } from 'node:test'

import { createClient, createCluster, createSentinel } from 'redis'

import type { RedisLogClient } from './connection.ts'
import { redisLog, type RedisLogOptions } from './redis-log.ts'

test('a log without a client is refused', () => {
  for (const client of [undefined, null, 'redis://127.0.0.1', {}])
    assert.throws(() => redisLog(client as unknown as RedisLogClient, { key: 'orders' }), {
      name: 'TypeError',
      message:
        /^Cannot make a log of .*: expected a client, such as createClient\(\) of redis makes$/,
    })
})

test('a client of a cluster or of sentinels is refused', () => {
  const cluster = createCluster({ rootNodes: [{ url: 'redis://127.0.0.1:1' }] })
  const sentinel = createSentinel({
    name: 'x',
    sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }],
  })
  for (const client of [cluster, sentinel])
    assert.throws(() => redisLog(client as unknown as RedisLogClient, { key: 'orders' }), TypeError)
})

test('options that cannot be used are refused', () => {
  const cases: [unknown, RegExp][] = [
    [undefined, /the options undefined: it must be an object/],
    [{}, /key undefined: it must be a name such as 'orders'/],
    [{ key: '' }, /key ""/],
    [{ key: 'orders', maxEvents: 0 }, /maxEvents 0: it must be an integer from 1/],
    [{ key: 'orders', maxEvents: 1.5 }, /maxEvents 1.5/],
    [{ key: 'orders', maxEvent: 5 }, /with maxEvent: there is no such option; there are key, /],
    [{ key: 'orders', exact: 'yes' }, /exact "yes": it must be true or false/],
    [{ key: 'orders', appendTimeoutMs: 0 }, /appendTimeoutMs 0: .* from 1 to 2147483647/],
    [{ key: 'orders', appendTimeoutMs: Infinity }, /appendTimeoutMs Infinity/],
  ]
  for (const [options, message] of cases)
    assert.throws(
      () => redisLog(createClient(), options as RedisLogOptions),
      (error: Error) => {
        assert.match(error.message, /^Cannot make a log on Redis with /)
        assert.match(error.message, message)
        return true
      },
    )
})

test('a log that is not used opens no connection, and closes', async () => {
  const client = createClient({ url: 'redis://127.0.0.1:1' })
  await redisLog(client, { key: 'orders' }).close()
  assert.equal(client.isOpen, false)
})
