/** `@wakerobin/logger`: a line for every request. */

export type { LogEntry } from './entry.ts'
export { jsonLine } from './escape.ts'
export { apache, record, type FormatName, type LogRecord } from './formats.ts'
export { colored, logLine, quoted, type Color, type Formatter, type Part } from './line.ts'
export { listening, type ListeningOptions } from './listening.ts'
export { logger, type LoggerOptions } from './logger.ts'
export type { Outcome } from './outcome.ts'
export { parts } from './parts.ts'
export type { Log, LogTarget } from './target.ts'
