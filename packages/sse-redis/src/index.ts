/** `@wakerobin/sse-redis`: a log of events on Redis Streams, for broadcasters in many processes. */

export type { RedisLogClient } from './connection.ts'
export { RedisAppendError } from './append-error.ts'
export { redisLog, type RedisLogOptions } from './redis-log.ts'
