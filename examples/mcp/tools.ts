/** What the server can do. */

import { setTimeout as sleep } from 'node:timers/promises'

export interface Tool {
  readonly description: string
  /** A JSON schema. */
  readonly inputSchema: object
  /** @returns What the model reads. */
  readonly call: (args: Readonly<Record<string, unknown>>, call: Call) => string | Promise<string>
}

export interface Call {
  /** Aborts when the client takes the call back, or its session ends; not when it only loses its connection. */
  readonly signal: AbortSignal
  /** Tells how far it is. */
  readonly progress: (progress: number, total: number, message: string) => void
  /** Tells all clients something. */
  readonly announce: (text: string) => void
}

export const tools: Readonly<Record<string, Tool>> = {
  add: {
    description: 'Adds two numbers',
    inputSchema: numbers('a', 'b'),
    call: ({ a, b }) => String(Number(a) + Number(b)),
  },
  count: {
    description: 'Counts from 1, once in 200 ms',
    inputSchema: numbers('to'),
    async call({ to }, { signal, progress }) {
      for (let count = 1; count <= Number(to); count++) {
        await sleep(200, undefined, { signal })
        progress(count, Number(to), `at ${count}`)
      }
      return `Counted to ${Number(to)}`
    },
  },
  announce: {
    description: 'Tells everyone who is connected',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string' } },
      required: ['text'],
    },
    call({ text }, { announce }) {
      announce(String(text))
      return 'Announced'
    },
  },
}

function numbers(...names: string[]): object {
  const properties = Object.fromEntries(names.map((name) => [name, { type: 'number' }]))
  return { type: 'object', properties, required: names }
}
