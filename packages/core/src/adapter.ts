/** `@wakerobin/core/adapter`: what a server needs to run an app, and an app does not. */

export {
  Chunk,
  concatBytes,
  encodeText,
  isBodySource,
  type BodySink,
  type BodySource,
  type CloseCause,
} from './body.ts'
export { callSafely } from './call-safely.ts'
export { checkNames, unknownName } from './check-names.ts'
export {
  failConn,
  forwardConn,
  hasAfterSend,
  onErrorOf,
  onGone,
  packConn,
  pendingPlaceOf,
  presetHeaders,
  settleConn,
  type Client,
} from './conn.ts'
export { describe } from './describe.ts'
export { finalize, type FinalResponse } from './finalize.ts'
export { Announced, closeInfo } from './info.ts'
export type { Incoming, ServerContext } from './incoming.ts'
export { askedPlaceOf, compile, type Program, type Upgrader } from './program.ts'
export { PullSource, toBodySource, type Pullable, type PullSourceOptions } from './pull-source.ts'
export { isAbort } from './is-abort.ts'
export { closeIterator, iteratorOf, type AnyIterator, type IterableSource } from './iterator-of.ts'
export { isPromiseLike } from './is-promise-like.ts'
export { listed } from './listed.ts'
export { maxTimerMs } from './max-timer-ms.ts'
export { parseJson } from './parse-json.ts'
export { Queue } from './queue.ts'
export { StateMap } from './state.ts'
