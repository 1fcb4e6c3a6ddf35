import type { NodeConnectionOptions } from '@nats-io/transport-node'

import { natsLog } from './nats-log.ts'
import type { NatsConnectionOptions } from './options.ts'

/** What the client takes may be passed on, and it takes what may be passed on. */
export const passed = (connection: NodeConnectionOptions): NatsConnectionOptions => connection
export const known = (
  name: Exclude<keyof NatsConnectionOptions, keyof NodeConnectionOptions>,
): never => name

// @ts-expect-error no such option
natsLog('orders', { connection: { server: 'nats://127.0.0.1' } })
// @ts-expect-error a stream has a name
natsLog({ connection: { servers: 'nats://127.0.0.1' } })
