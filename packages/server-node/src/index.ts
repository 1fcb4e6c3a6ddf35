/** `@wakerobin/server-node`: runs an app on node:http. */

export { StartError, type AddressOptions } from './address.ts'
export { HandlerTimeoutError } from './handler-timeout.ts'
export type { Hook, HookOptions, HookPhase, HookReport } from './hooks.ts'
export type { LimitOptions } from './limits.ts'
export type { OpenReport, RequestEntry } from './open-report.ts'
export type { Phase } from './phase.ts'
export { readiness } from './readiness.ts'
export { run, type RunOptions } from './run.ts'
export { serve, type ServeOptions, type ServerHandle, type ShutdownOptions } from './serve.ts'
export { onShutdown, type ShutdownReport, type Tally } from './shutdown.ts'
