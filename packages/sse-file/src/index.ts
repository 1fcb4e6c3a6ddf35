/** `@wakerobin/sse-file`: an event log in a folder of files. */

export { fileLog } from './file-log.ts'
export { LogInUseError } from './lock.ts'
export type { FileLogOptions, FsyncPolicy } from './options.ts'
export type { Damage } from './damage.ts'
