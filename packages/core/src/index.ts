/** `@wakerobin/core`: the conn, the handlers, the state and the stop. */

export type { App, AppFunction, HandlersFunction } from './app.ts'
export type { Body, BodySink, BodySource, CloseCause } from './body.ts'
export { Conn, type AfterSend, type ConnExtensions, type Halted } from './conn.ts'
export { BodyAbortedError, BodyTooLongError, MalformedBodyError } from './errors.ts'
export type {
  AnyHandler,
  Handler,
  HandlerFn,
  HandlerList,
  HandlerObject,
  HandlerParts,
  HandlerWithoutRun,
  Out,
  Result,
  Sequence,
  Trivial,
} from './handler.ts'
export { handlers } from './handlers.ts'
export { HeaderMap, type HeadersInput, type HeaderValue } from './header-map.ts'
export { Info, Init, type InitFn, type Listener } from './info.ts'
export { isIdempotent, isMethod, isSafe, type Method } from './method.ts'
export type { ErrorContext, OnError, Place } from './program.ts'
export type { RequestBody } from './request-body.ts'
export {
  State,
  type Class,
  type Has,
  type Key,
  type Lookup,
  type StateKey,
  type Token,
} from './state.ts'
export { reasonPhrase, Status, status, statusKind, type StatusKind } from './status.ts'
export {
  ShuttingDown,
  Swansong,
  type InterruptOptions,
  type ShutdownState,
  type StopReason,
  type SwansongOptions,
} from './swansong.ts'
export type { Transport, Upgrade } from './upgrade.ts'
export { type Guard } from './swansong/guard.ts'
export { GuardReport, type GuardEntry } from './swansong/report.ts'
