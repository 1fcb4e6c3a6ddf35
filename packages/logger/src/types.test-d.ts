// Checked by `tsc` alone: what may be logged to what.

import type { Handler } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { logger, logLine, parts, record, type LogRecord } from './index.ts'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const lines: string[] = []
const records: LogRecord[] = []

// A function is given text, unless the format makes something else.
logger({
  log: (line) => {
    const isText: Equal<typeof line, string> = true
    return isText
  },
})
logger({ log: (line) => lines.push(line) })
logger({ format: 'json', log: (line) => lines.push(line) })
logger({ format: logLine`${parts.url}`, log: (line) => lines.push(line) })
logger({ format: record, log: (line) => records.push(line) })
logger({ format: ({ conn }) => conn.path, log: { info: (line) => lines.push(line), error() {} } })
logger({ log: console })
logger({ format: record, log: console })

// As pino has it, and winston.
interface PinoFn {
  <T extends object>(object: T, message?: string, ...args: unknown[]): void
  (message: string, ...args: unknown[]): void
}
declare const pino: { info: PinoFn; error: PinoFn }
interface WinstonMethod {
  (message: string, ...meta: unknown[]): object
  (message: unknown): object
  (info: object): object
}
declare const winston: { info: WinstonMethod; error: WinstonMethod }
logger({ log: pino })
logger({ format: record, log: pino })
logger({ log: winston })
logger({ format: record, log: winston })

// It stands in a tuple, and needs and provides nothing.
const handler: Handler = logger()
testApp([handler, logger({ format: record, log: pino }), 'hello'])

// @ts-expect-error there is no such format
logger({ format: 'apache' })
// @ts-expect-error both methods are needed
logger({ log: { info() {} } })
// @ts-expect-error records are no text
logger({ format: record, log: (line: string) => lines.push(line) })
// @ts-expect-error a part is a function
logger({ format: logLine`${'GET'}` })
