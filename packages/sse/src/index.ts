/** `@wakerobin/sse`: server-sent events. Importing it gives every conn `withSseStream` and `sseDone`. */

import './sse-done.ts'

export { acceptsEventStream } from './accept.ts'
export {
  Broadcaster,
  type BroadcasterStats,
  type MessageOf,
  type Note,
  type PublishOptions,
  type TextEvents,
} from './broadcaster.ts'
export type { BroadcasterOptions } from './broadcaster-options.ts'
export { encodeEvent } from './encode.ts'
export type { EventLog, LogBounds, LogEvent, LogPage, LogRecord } from './event-log.ts'
export { SseEvent, SseEvent as Event, type Eventable, type EventFields } from './event.ts'
export type { WhenBehind } from './feed.ts'
export { lastEventId, type LastEventIdOptions } from './last-event-id.ts'
export { memoryLog, type MemoryLogOptions } from './memory-log.ts'
export { metrics, type MetricsOptions } from './metrics.ts'
export type { EndReason, SseOptions, StreamEnd } from './options.ts'
export type { RunWork } from './open-run.ts'
export { Run } from './run.ts'
export type { RunEndReason } from './run-log.ts'
export { RunExistsError, Runs } from './runs.ts'
export type { AttachOptions, RunEnd, RunsOptions, StartOptions } from './runs-options.ts'
export { sse, type SseAnswer, type SseConnect, type SseContext } from './sse.ts'
export { sseLimits, type SseLimits } from './sse-limits.ts'
export type { Subscriber } from './subscriber.ts'
export { Subscription, SubscriberTooSlowError, type SubscribeOptions } from './subscription.ts'
export { withSseStream, type SseSource } from './with-sse-stream.ts'
