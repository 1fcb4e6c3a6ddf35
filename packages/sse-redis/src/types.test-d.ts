import type { EventLog } from '@wakerobin/sse'
import { createClient, createCluster } from 'redis'

import { redisLog } from './redis-log.ts'

const log: EventLog = redisLog(createClient(), { key: 'orders' })
redisLog(createClient({ url: 'redis://127.0.0.1:6379', RESP: 2 }), { key: 'orders', exact: true })
redisLog(createClient({ scripts: {}, socket: { tls: true, host: 'redis' } }), { key: 'orders' })

// @ts-expect-error a log has a name
redisLog(createClient(), {})
// @ts-expect-error a client of a cluster has no one connection
redisLog(createCluster({ rootNodes: [] }), { key: 'orders' })

export { log }
