/** What the compiler promises about routes, checked by tsc alone: nothing here runs. */

import { handlers, State } from '@wakerobin/core'
import type { Conn, Halted, Handler, HandlerList, Has, Method } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { router } from './index.ts'
import type { Param, ParamsOf, Router } from './index.ts'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

class User {
  readonly #brand = true
  readonly name = 'Fern'
  isReal(): boolean {
    return this.#brand
  }
}
class Session {
  readonly #brand = true
  isOpen(): boolean {
    return this.#brand
  }
}

// ------------------------------------------------------------------------- parameters of a path

const none: Equal<ParamsOf<'/about'>, never> = true
const one: Equal<ParamsOf<'/users/:id'>, Param<'id'>> = true
const two: Equal<ParamsOf<'/users/:id/posts/:post_2'>, Param<'id'> | Param<'post_2'>> = true
const rest: Equal<ParamsOf<'/static/*'>, Param<'*'>> = true
const restToo: Equal<ParamsOf<'/orgs/:org/*'>, Param<'org'> | Param<'*'>> = true
const withinText: Equal<
  ParamsOf<'/v:major.:minor/x-:Name'>,
  Param<'major'> | Param<'minor'> | Param<'Name'>
> = true
const dashEnds: Equal<ParamsOf<'/:user-id'>, Param<'user'>> = true
const unknownPath: Equal<ParamsOf<string>, never> = true
const partlyKnown: Equal<ParamsOf<`/:id/${string}/*`>, never> = true
const oneOfTwo: Equal<ParamsOf<'/:a' | '/:b'>, never> = true

router().get('/users/:id', (conn) => conn.ok(conn.param('id')))
router().get('/users/:id', async (conn) => {
  const id = conn.param('id')
  const isText: Equal<typeof id, string> = true
  return conn.ok(`${id}${isText}`)
})
// @ts-expect-error the path has no parameter of this name
router().get('/users/:id', (conn) => conn.ok(conn.param('ids')))
router().get('/users/:id/*', (conn) => conn.ok(conn.param('id') + conn.param('*')))
router().get('/about', (conn) => {
  const id = conn.param('id')
  const maybe: Equal<typeof id, string | undefined> = true
  // @ts-expect-error the path has no parameters
  return conn.ok(id)
})
declare const path: string
router().get(path, (conn) => conn.ok(conn.param('id') ?? 'none'))
// All methods, and all forms of handlers.
const everyWay: Router = router()
  .get('/:a', (conn) => conn.ok(conn.param('a')))
  .post('/:a', (conn) => conn.ok(conn.param('a')))
  .put('/:a', (conn) => conn.ok(conn.param('a')))
  .delete('/:a', (conn) => conn.ok(conn.param('a')))
  .patch('/:a', (conn) => conn.ok(conn.param('a')))
  .any(['HEAD', 'QUERY'], '/:a', (conn) => conn.ok(conn.param('a')))
  .all('/:a', (conn) => conn.ok(conn.param('a')))
  .get('/text', 'hello')
  .get('/object/:a', { run: (conn) => conn.ok(conn.param('a')) })
  .get('/nested/:a', [(conn) => conn.ok(conn.param('a'))])
  .get(
    '/group/:a',
    handlers((conn) => conn.ok(conn.param('a'))),
  )
// @ts-expect-error no method
router().any(['FETCH'], '/', 'hello')
declare const methods: readonly Method[]
router().any(methods, '/', 'hello')

// A handler that is written apart names the parameters that it needs.
const show: Handler<Param<'id'>> = (conn) => conn.ok(conn.param('id'))
function showToo(conn: Conn<Param<'id'>>): Halted {
  return conn.ok(conn.param('id'))
}
router().get('/users/:id', show).get('/orgs/:org/users/:id', showToo)
// @ts-expect-error the path has another parameter
router().get('/users/:name', show)
// @ts-expect-error the path has another parameter
router().get('/users/:name', showToo)
// @ts-expect-error there is no route
testApp([show])
// A handler that knows of no route may ask all the same.
const anywhere: Handler = (conn) => conn.ok(conn.param('id') ?? conn.route ?? 'none')

// -------------------------------------------------------------------------------- state in routes

// Handlers of a route are checked as a tuple is.
router().get('/users/:id', State.new(new User()), (conn) => {
  const isBoth: Equal<typeof conn, Conn<Param<'id'> | Has<User>>> = true
  return conn.ok(conn.state(User).name + conn.param('id') + isBoth)
})
router().get('/users/:id', [State.new(new User()), State.new(new Session())], (conn) =>
  conn.ok(`${conn.state(User).name} ${conn.state(Session).isOpen()} ${conn.param('id')}`),
)
router().get('/users/:id', (conn) => {
  const user = conn.state(User)
  // @ts-expect-error nobody provides it
  return conn.ok(user.name)
})
router().get(
  '/users/:id',
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error the provider comes after the reader
    return conn.ok(user.name)
  },
  State.new(new User()),
)
const greet: Handler<Has<User>> = (conn) => conn.ok(conn.state(User).name)
router().get('/', State.new(new User()), greet)
router().get('/', handlers(State.new(new User()), greet))
// @ts-expect-error nobody provides what it needs
router().get('/', greet)
// @ts-expect-error another state is provided
router().get('/', State.new(new Session()), greet)
declare const list: HandlerList
router().get('/', list, State.new(new User()), greet)

// A router can need state, and then stands behind what provides it.
const users = router<Has<User>>()
  .get('/', greet)
  .get('/:id', (conn) => conn.ok(conn.state(User).name + conn.param('id')))
testApp([State.new(new User()), users])
testApp([State.new(new User()), State.new(new Session()), users])
// @ts-expect-error nobody provides what it needs
testApp([users])
// @ts-expect-error nobody provides what it needs
testApp(users)
// @ts-expect-error another state is provided
testApp([State.new(new Session()), users])
// As a handler, it provides nothing: perhaps no route fits.
testApp([
  router().get('/', State.new(new User()), (conn) => conn),
  (conn) => {
    const user = conn.state(User)
    const maybe: Equal<typeof user, User | undefined> = true
    return conn.ok(String(maybe))
  },
])

// Inside handlers(…), a router that is built by a function sees what is provided before it.
testApp(
  handlers(
    State.new(new User()),
    router((routes) =>
      routes.get('/:id', (conn) => conn.ok(conn.state(User).name + conn.param('id'))),
    ),
  ),
)
testApp(
  handlers(
    State.new(new User()),
    router({ methodNotAllowed: true }, (routes) => routes.get('/', greet)),
  ),
)
// @ts-expect-error nobody provides what it needs
testApp(handlers(router((routes) => routes.get('/', greet))))

// --------------------------------------------------------------------------------- nested routers

router().all(
  '/orgs/:org/*',
  router<Param<'org'>>().get('/users/:id', (conn) => conn.ok(conn.param('org') + conn.param('id'))),
)
router().all(
  '/orgs/:org/*',
  router((routes) =>
    routes.get('/users/:id', (conn) => conn.ok(conn.param('org') + conn.param('id'))),
  ),
)
// @ts-expect-error the path around it has another parameter
router().all('/teams/:team/*', router<Param<'org'>>().get('/', 'hello'))
router().all(
  '/orgs/:org/*',
  // @ts-expect-error the router does not say that it needs the parameter of the path around it
  router().get('/:id', (conn) => conn.ok(conn.param('org'))),
)

export {
  anywhere,
  dashEnds,
  everyWay,
  none,
  one,
  oneOfTwo,
  partlyKnown,
  rest,
  restToo,
  two,
  unknownPath,
  withinText,
}
