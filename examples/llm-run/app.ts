/** Answers of a model that outlive the page that has asked: reload it, or close it and come back, and the answer is there, or
 * still being written.
 *
 *     npm run example examples/llm-run/app.ts
 *
 *     curl -i -d 'Why do wakerobins have three leaves?' localhost:8080/answers    # says where the answer is
 *     curl -N localhost:8080/answers/…                                            # leave it, and come back
 *     curl -X DELETE localhost:8080/answers/…
 *
 * A program with several processes opens logs that all of them can read: see docs/guide/runs.md. */

import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'

import { handlers, State, type Handler, type Has } from '@wakerobin/core'
import { router } from '@wakerobin/router'
import { run } from '@wakerobin/server-node'
import { Runs } from '@wakerobin/sse'

import { ponder, type Model } from './model.ts'

const page = readFileSync(new URL('page.html', import.meta.url), 'utf8')

const answers = (model: Model): Handler<Has<Runs>> =>
  router<Has<Runs>>({ methodNotAllowed: true })
    .get('/', (conn) =>
      conn.withResponseHeader('Content-Type', 'text/html; charset=utf-8').ok(page),
    )
    .post('/answers', async (conn) => {
      const question = await conn.requestBody.withLimit(2_000).text()
      // Who has the id may read the answer, so nobody must guess it.
      const id = randomUUID()
      await conn.state(Runs).start(id, (signal) => model(question, signal), {
        swansong: conn.swansong,
      })
      return conn.withStatus(201).withResponseHeader('Location', `/answers/${id}`).json({ id })
    })
    .get('/answers/:id', (conn) => conn.state(Runs).attach(conn, conn.param('id')))
    .delete('/answers/:id', async (conn) => {
      const isStopped = await conn.state(Runs).stop(conn.param('id'))
      return conn.withStatus(isStopped ? 204 : 404).halt()
    })

export const app = (runs: Runs, model: Model = ponder): Handler =>
  handlers(State.new(runs), answers(model))

if (process.argv[1] === import.meta.filename) run(app(new Runs()))
