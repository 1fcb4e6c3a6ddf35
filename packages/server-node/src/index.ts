/** `@wakerobin/server-node`: runs an app on node:http. */

export { StartError, type AddressOptions } from './address.ts'
export { run, type RunOptions } from './run.ts'
export {
  serve,
  type LimitOptions,
  type ServeOptions,
  type ServerHandle,
  type ShutdownOptions,
} from './serve.ts'
export type { StopOutcome } from './server.ts'
