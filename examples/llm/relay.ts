/** A relay in front of a model: it keeps the key, and streams the answers on.
 *
 *     npm run example examples/llm/relay.ts
 *     curl -N localhost:8080/v1/chat/completions -d '{"model":"parrot","stream":true,"messages":[{"role":"user","content":"Hello, model!"}]}'
 *
 * It asks the stand-in beside it, or whatever server of that API is at MODEL_URL, with the key MODEL_KEY. */

import { handlers, State, type Handler, type Has } from '@wakerobin/core'
import { logger } from '@wakerobin/logger'
import { run, serve } from '@wakerobin/server-node'
import '@wakerobin/sse'

import { chat } from './chat.ts'
import * as model from './model.ts'
import { eventsOf, failure, isStreamed, passOn, Upstream } from './upstream.ts'

/** The app in front of a model. */
export const app = (upstream: Upstream): Handler =>
  handlers(State.new(upstream), completions, chat(model.name))

// No `sse(…)`: clients of this API accept only JSON, and ask for the stream in what they post.
const completions: Handler<Has<Upstream>> = async (conn) => {
  if (conn.method !== 'POST' || conn.path !== '/v1/chat/completions') return conn
  const question = await conn.requestBody.text()
  // The signal takes the question back when the client leaves before there is an answer, or during it.
  const answer = await conn.state(Upstream).ask(question, conn.signal)
  if (!isStreamed(answer)) return passOn(conn, answer)
  return conn.withSseStream(eventsOf(answer), {
    // An answer cannot be resumed, so the stop waits for it.
    finish: true,
    mapError: () => ({ data: JSON.stringify({ error: failure }) }),
  })
}

if (process.argv[1] === import.meta.filename) {
  const { MODEL_URL, MODEL_KEY = model.key } = process.env
  const standIn = MODEL_URL ? undefined : await serve(model.app(), { host: '127.0.0.1', port: 0 })
  const upstream = new Upstream(MODEL_URL ?? standIn!.url!, MODEL_KEY)
  // As long as an answer may take.
  await run([logger(), app(upstream)], { shutdown: { deadlineMs: 120_000 } })
  await standIn?.shutDown()
}
