/** `@wakerobin/logger`: a line for every request. */

export { logger, type LoggerOptions } from './logger.ts'
