/** `@wakerobin/server-node`: runs an app on node:http. */

export {
  StartError,
  type AddressOptions,
  type FdListenOptions,
  type ListenOptions,
  type ServerListenOptions,
  type TcpListenOptions,
  type UnixListenOptions,
} from './address.ts'
export { connect, nodeRequest, type Middleware, type Next } from './connect.ts'
export { HandlerTimeoutError } from './handler-timeout.ts'
export type { Hook, HookOptions, HookPhase, HookReport } from './hooks.ts'
export type { LimitOptions } from './limits.ts'
export type { OpenReport, RequestEntry } from './open-report.ts'
export type { Phase } from './phase.ts'
export { readiness } from './readiness.ts'
export { run, type RunOptions } from './run.ts'
export { serve, type ServeOptions, type ServerHandle, type ShutdownOptions } from './serve.ts'
export { onShutdown, type ShutdownReport, type Tally } from './shutdown.ts'
export type { TlsOptions, TlsSource } from './tls.ts'
// Also what makes core know it.
export type { NodeTransport } from './upgrade.ts'
