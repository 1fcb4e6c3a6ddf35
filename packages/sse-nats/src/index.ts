/** `@wakerobin/sse-nats`: the log of a broadcaster, on NATS JetStream. */

export { NatsAppendError } from './errors.ts'
export { natsLog } from './nats-log.ts'
export type { NatsConnectionOptions, NatsLogOptions } from './options.ts'
