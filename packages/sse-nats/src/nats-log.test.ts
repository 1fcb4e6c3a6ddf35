import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import { eventLogConformance } from '@wakerobin/sse/testing'

import { NatsServer, skip } from '../fixtures/nats-server.ts'
import { natsLog } from './nats-log.ts'

describe('a log on NATS JetStream', { skip }, () => {
  let server: NatsServer
  let count = 0
  const open = (options: { maxEvents?: number } = {}) =>
    natsLog(`log-${count}`, { ...options, connection: { servers: server.url } })

  before(async () => (server = await NatsServer.start()))
  after(() => server[Symbol.asyncDispose]())

  const make = {
    open() {
      count++
      return open()
    },
    reopen: () => open(),
    share: () => open(),
    openBounded(maxEvents: number) {
      count++
      return open({ maxEvents })
    },
  }
  for (const { name, run } of eventLogConformance(make)) test(name, run)
})
