/** A small API: routes with parameters, one router within another, and 405 for a method that a path does not have.
 *
 *     npm run example examples/router.ts
 *     curl -X PUT localhost:8080/lists/garden
 *     curl -i -d 'water the ferns' localhost:8080/lists/garden
 *     curl localhost:8080/lists/garden */

import { handlers, State, type Conn, type Handler, type Has } from '@wakerobin/core'
import { router, type Param } from '@wakerobin/router'
import { run } from '@wakerobin/server-node'

/** Lists by name, and in each what is to do. */
export class Lists {
  readonly #lists = new Map<string, string[]>()

  get names(): readonly string[] {
    return [...this.#lists.keys()]
  }

  find(name: string): string[] | undefined {
    return this.#lists.get(name)
  }

  /** @returns Whether it is new. */
  add(name: string): boolean {
    if (this.#lists.has(name)) return false
    this.#lists.set(name, [])
    return true
  }
}

/** The list that the path names. */
class List {
  readonly #todos: string[]
  constructor(todos: string[]) {
    this.#todos = todos
  }
  get todos(): string[] {
    return this.#todos
  }
}

// Written apart, a handler names what it needs: here a parameter `list` of the path. It provides the list, or halts.
function findList(conn: Conn<Has<Lists> | Param<'list'>>): Conn<Has<List>> {
  const todos = conn.state(Lists).find(conn.param('list'))
  return todos === undefined ? conn.withStatus(404).halt() : conn.withState(new List(todos))
}

/** What is below `/lists/:list`. */
const todos = router<Has<List> | Param<'list'>>({ methodNotAllowed: true })
  .get('/', (conn) => conn.json({ list: conn.param('list'), todos: conn.state(List).todos }))
  .post('/', async (conn) => {
    const number = conn.state(List).todos.push(await conn.requestBody.withLimit(500).text())
    // Parameters are decoded.
    const list = encodeURIComponent(conn.param('list'))
    return conn.withStatus(201).withResponseHeader('Location', `/lists/${list}/${number}`).halt()
  })
  .get('/:number', (conn) => {
    const todo = conn.state(List).todos[Number(conn.param('number')) - 1]
    return todo === undefined ? conn : conn.ok(todo)
  })

export const app = (lists: Lists): Handler =>
  handlers(
    State.new(lists),
    router({ methodNotAllowed: true }, (routes) =>
      routes
        .get('/lists', (conn) => conn.json(conn.state(Lists).names))
        .put('/lists/:list', (conn) =>
          conn.withStatus(conn.state(Lists).add(conn.param('list')) ? 201 : 204).halt(),
        )
        .any(['GET', 'POST'], '/lists/:list/*', findList, todos),
    ),
  )

if (process.argv[1] === import.meta.filename) run(app(new Lists()))
