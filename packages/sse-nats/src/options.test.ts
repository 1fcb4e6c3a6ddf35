import assert from 'node:assert/strict'
import { test } from 'node:test'

import { natsLog } from './nats-log.ts'
import type { NatsLogOptions } from './options.ts'

test('a wrong option is refused with what would be right', () => {
  const wrong: [stream: unknown, options: object, message: string][] = [
    ['', {}, 'stream ""'],
    [undefined, {}, 'stream undefined'],
    ['or ders', {}, 'stream "or ders"'],
    ['a.b', {}, 'stream "a.b"'],
    ['orders', { subject: 'a.*' }, 'subject "a.*"'],
    ['orders', { subject: 'a..b' }, 'subject "a..b"'],
    ['orders', { subject: '$JS.API' }, 'subject "$JS.API"'],
    ['orders', { subject: 'a b' }, 'subject "a b"'],
    ['orders', { subject: 7 }, 'subject 7'],
    ['orders', { connection: 'localhost' }, 'connection "localhost"'],
    ['orders', { connection: null }, 'connection null'],
    ['orders', { storage: 'disk' }, 'storage "disk"'],
    ['orders', { replicas: 6 }, 'replicas 6'],
    ['orders', { maxEvents: 0 }, 'maxEvents 0'],
    ['orders', { maxBytes: 1.5 }, 'maxBytes 1.5'],
    ['orders', { maxAgeMs: 19_999 }, 'maxAgeMs 19999'],
    ['orders', { maxAgeMs: '1h' }, 'maxAgeMs "1h"'],
    ['orders', { appendTimeoutMs: 99 }, 'appendTimeoutMs 99'],
    ['orders', { appendTimeoutMs: Infinity }, 'appendTimeoutMs Infinity'],
  ]
  for (const [stream, options, what] of wrong)
    assert.throws(
      () => natsLog(stream as string, options as NatsLogOptions),
      (error) => {
        assert.ok(error instanceof TypeError || error instanceof RangeError)
        assert.ok(error.message.startsWith(`Cannot make a log on NATS with ${what}: expected `))
        return true
      },
    )
})

test('an option that there is not is refused', () => {
  assert.throws(() => natsLog('orders', { maxAge: 5 } as NatsLogOptions), {
    name: 'TypeError',
    message:
      /^Cannot make a log on NATS with maxAge: there is no such option; there are subject, .* and appendTimeoutMs$/,
  })
})

test('a log that is not used connects to nothing', async () => {
  const log = natsLog('orders', {
    subject: 'shop.orders',
    maxEvents: Infinity,
    maxBytes: Infinity,
    maxAgeMs: Infinity,
    storage: 'memory',
    replicas: 3,
  })
  await log.close()
})
