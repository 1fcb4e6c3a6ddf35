/** An MCP server whose tool the test works, for tests. */

import type { TestContext } from 'node:test'

import { serve } from '@wakerobin/server-node'

import { start, type Started } from '../testing/start.ts'
import { app } from './server.ts'
import { Sessions } from './session.ts'
import { tools, type Call } from './tools.ts'

export interface StartedServer extends Started {
  readonly url: URL
  readonly sessions: Sessions
  readonly work: Work
}

/** Serves it until the test is over, with a tool `work` beside its own. */
export async function startServer(t: TestContext): Promise<StartedServer> {
  const work = new Work()
  const sessions = new Sessions({ ...tools, work: work.tool })
  const started = await start(t, (options) => serve(app(sessions), options))
  return { ...started, url: new URL('/mcp', started.origin), sessions, work }
}

/** A tool that does what the test says. */
export class Work {
  /** Resolves when it is called. */
  readonly called: Promise<Call>
  /** Resolves when its signal aborts. */
  readonly cancelled: Promise<void>
  finish!: (text: string) => void
  fail!: (error: Error) => void
  readonly tool: (typeof tools)[string]

  constructor() {
    let onCalled: (call: Call) => void
    let onCancelled: () => void
    this.called = new Promise((resolve) => (onCalled = resolve))
    this.cancelled = new Promise((resolve) => (onCancelled = resolve))
    const text = new Promise<string>((resolve, reject) => {
      this.finish = resolve
      this.fail = reject
    })
    this.tool = {
      description: 'Does what the test says',
      inputSchema: { type: 'object' },
      call(_args, call) {
        call.signal.addEventListener('abort', () => onCancelled())
        onCalled(call)
        return text
      },
    }
  }
}
