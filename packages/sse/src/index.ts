/** `@wakerobin/sse`: server-sent events. Importing it gives every conn `withSseStream`. */

export { Broadcaster, type BroadcasterOptions } from './broadcaster.ts'
export { encodeEvent } from './encode.ts'
export { SseEvent, SseEvent as Event, type Eventable, type EventFields } from './event.ts'
export type { SseOptions } from './options.ts'
export { Subscription, SubscriberTooSlowError } from './subscription.ts'
export { withSseStream, type SseSource } from './with-sse-stream.ts'
