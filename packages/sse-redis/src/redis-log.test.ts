import { after, before, describe, test } from 'node:test'

import type { EventLog } from '@wakerobin/sse'
import { redisLog, type RedisLogOptions } from '@wakerobin/sse-redis'
import { eventLogConformance } from '@wakerobin/sse/testing'
import { createClient } from 'redis'

import { RedisServer, skipReason } from '../fixtures/redis-server.ts'

describe('a log on Redis', { skip: skipReason }, () => {
  let server: RedisServer
  const ends: (() => Promise<void>)[] = []
  before(async () => {
    server = await RedisServer.start({ after: (end) => ends.push(end) })
  })
  after(async () => {
    for (const end of ends) await end()
  })

  let keys = 0
  const open = (options: Partial<RedisLogOptions> = {}): EventLog =>
    redisLog(createClient({ url: server.url }), { key: `log ${++keys}`, ...options })
  const again = (): EventLog => redisLog(createClient({ url: server.url }), { key: `log ${keys}` })
  const make = { open: () => open(), reopen: again, share: again }

  for (const { name, run } of eventLogConformance({
    ...make,
    openBounded: (maxEvents) => open({ maxEvents }),
  }))
    test(name, run)
  for (const { name, run } of eventLogConformance({
    ...make,
    openBounded: (maxEvents) => open({ maxEvents, exact: true }),
  }).slice(-2))
    test(`exact: ${name}`, run)
})
