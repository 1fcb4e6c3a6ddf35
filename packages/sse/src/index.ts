/** `@wakerobin/sse`: server-sent events. Importing it gives every conn `withSseStream` and `sseDone`. */

import './sse-done.ts'

export { acceptsEventStream } from './accept.ts'
export { Broadcaster, type BroadcasterOptions } from './broadcaster.ts'
export { encodeEvent } from './encode.ts'
export { SseEvent, SseEvent as Event, type Eventable, type EventFields } from './event.ts'
export { lastEventId, type LastEventIdOptions } from './last-event-id.ts'
export type { EndReason, SseOptions, StreamEnd } from './options.ts'
export { sse, type SseAnswer, type SseConnect, type SseContext } from './sse.ts'
export { sseLimits, type SseLimits } from './sse-limits.ts'
export { Subscription, SubscriberTooSlowError } from './subscription.ts'
export { withSseStream, type SseSource } from './with-sse-stream.ts'
