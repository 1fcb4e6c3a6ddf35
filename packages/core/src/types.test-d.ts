/** What the compiler promises about a tuple, checked by tsc alone: nothing here runs. */

import { fromFetch, toFetch } from './fetch.ts'
import { Conn, handlers, HeaderMap, Init, State, status } from './index.ts'
import type {
  AnyHandler,
  Class,
  Halted,
  Handler,
  HandlerFn,
  HandlerList,
  Has,
  Info,
  Key,
  Lookup,
  Out,
  Sequence,
  StateKey,
  Token,
} from './index.ts'
import { testApp } from './testing.ts'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

class User {
  readonly #brand = true
  readonly name = 'Fern'
  isReal(): boolean {
    return this.#brand
  }
}
class Admin extends User {
  readonly #brand = true
  isAdmin(): boolean {
    return this.#brand
  }
}
class Session {
  readonly #brand = true
  isOpen(): boolean {
    return this.#brand
  }
}
class Broadcaster<T = string> {
  readonly #items: T[] = []
  publish(item: T): void {
    this.#items.push(item)
  }
}
interface Database {
  query(sql: string): Promise<string>
}
const Db: StateKey<'db', Database> = State.key<Database>()('db')
const Count: StateKey<'count', number> = State.key<number>()('count')
declare const database: Database
declare const isLucky: boolean

// ---------------------------------------------------------------------- a provider before a reader

testApp([
  State.new(new User()),
  (conn) => {
    const user = conn.state(User)
    const isUser: Equal<typeof user, User> = true
    const isConn: Equal<typeof conn, Conn<Has<User>>> = true
    return conn.ok(`${user.name}${isUser}${isConn}`)
  },
])

// The provider's type argument is found without being named.
testApp([
  State.new(new Broadcaster<number>()),
  async (conn) => {
    const broadcaster = conn.state(Broadcaster)
    const same: Equal<typeof broadcaster, Broadcaster<number>> = true
    broadcaster.publish(1)
    // @ts-expect-error it takes numbers
    broadcaster.publish('one')
    return conn.ok(String(same))
  },
])
testApp([
  State.new(new Broadcaster<number>()),
  (conn) => conn.ok(String(conn.state(Broadcaster<number>))),
])

// State adds up, by return type, through sync and async handlers.
testApp([
  State.new(new User()),
  async (conn) => conn.withState(new Session()),
  (conn) => {
    const both: Equal<typeof conn, Conn<Has<User> | Has<Session>>> = true
    return conn.ok(`${conn.state(User).name}${conn.state(Session).isOpen()}${both}`)
  },
])

// ------------------------------------------------------------------------- no provider before it

testApp([
  (conn) => {
    const user = conn.state(User)
    const maybe: Equal<typeof user, User | undefined> = true
    // @ts-expect-error nobody provides it
    return conn.ok(`${user.name}${maybe}`)
  },
])
testApp([
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error the provider comes after the reader
    return conn.ok(user.name)
  },
  State.new(new User()),
])
testApp([
  State.new(new Session()),
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error another state is provided
    return conn.ok(user.name)
  },
])
testApp((conn) => {
  const user = conn.state(User)
  // @ts-expect-error a single handler has no provider before it
  return conn.ok(user.name)
})

// ----------------------------------------------------------------------- handlers that state a need

const greet: Handler<Has<User>> = (conn) => conn.ok(conn.state(User).name)
function greetByFunction(conn: Conn<Has<User>>): Halted {
  return conn.ok(conn.state(User).name)
}
class GreetByObject {
  run(conn: Conn<Has<User>>): Halted {
    return conn.ok(conn.state(User).name)
  }
}
testApp([State.new(new User()), greet])
testApp([State.new(new User()), greetByFunction])
testApp([State.new(new User()), new GreetByObject()])
testApp([State.new(new Session()), State.new(new User()), [greet]])
testApp(handlers(State.new(new User()), greet))
// @ts-expect-error nobody provides it
testApp([greet])
// @ts-expect-error nobody provides it
testApp(greet)
// @ts-expect-error nobody provides it
testApp([greetByFunction])
// @ts-expect-error nobody provides it: `run` is a property of HandlerObject, as a method would be bivariant
testApp([new GreetByObject()])
// @ts-expect-error the provider comes too late
testApp([greet, State.new(new User())])
// @ts-expect-error another state is provided
testApp([State.new(new Session()), greet])
// @ts-expect-error nobody provides it, one level down
testApp([[greet]])
// @ts-expect-error nobody provides it
handlers(greet) satisfies Handler

const needsTwo: Handler<typeof Db | Has<User>> = async (conn) =>
  conn.ok(await conn.state(Db).query(conn.state(User).name))
testApp([State.new(Db, database), State.new(new User()), needsTwo])
// @ts-expect-error one of the two is missing
testApp([State.new(new User()), needsTwo])

// A conn that holds more may stand where one that holds less is asked for, not the other way round.
declare const bare: Conn
declare const withUser: Conn<Has<User>>
declare const withBoth: Conn<Has<User> | Has<Session>>
const less: Conn<Has<User>> = withBoth
const nothing: Conn = withBoth
// @ts-expect-error the session is missing
const more: Conn<Has<User> | Has<Session>> = withUser
// @ts-expect-error the user is missing
const some: Conn<Has<User>> = bare
// A handler that needs less may stand where one that needs more is asked for.
const plain: HandlerFn = (conn) => conn.ok('x')
const needy: HandlerFn<Has<User>> = plain
// @ts-expect-error it needs more
const undemanding: HandlerFn = needy

// ------------------------------------------------------------------------ handlers that provide

async function login(conn: Conn<Has<Session>>): Promise<Conn<Has<User>>> {
  return conn.state(Session).isOpen() ? conn.withState(new User()) : conn.withStatus(401).halt()
}
testApp([
  State.new(new Session()),
  login,
  (conn) => conn.ok(`${conn.state(User).name}${conn.state(Session).isOpen()}`),
])
// @ts-expect-error login needs a session
testApp([login, greet])

const guest: Handler<never, Has<User>> = (conn) => conn.withState(new User())
const guestLater: Handler<never, Has<User>> = async (conn) => conn.withState(new User())
const refused: Handler<never, Has<User>> = (conn) => conn.withStatus(401).halt()
const asObject: Handler<Has<Session>, Has<User>> = {
  run: (conn) => conn.withState(new User()),
  name: 'guest',
}
testApp([guest, greet])
testApp([guestLater, greet])
testApp([refused, greet])
testApp([State.new(new Session()), asObject, greet])
// @ts-expect-error it neither halts nor provides
const forgets: Handler<never, Has<User>> = (conn) => conn
// @ts-expect-error it neither halts nor provides
const forgetsLater: Handler<never, Has<User>> = async (conn) => conn.withStatus(200)
// @ts-expect-error it returns nothing, so nobody knows what the conn holds
const silent: Handler<never, Has<User>> = (conn) => void conn.withState(new User())
// @ts-expect-error it provides on one path only
const onSomePaths: Handler<never, Has<User>> = (conn) =>
  isLucky ? conn.withState(new User()) : conn
// @ts-expect-error it provides something else
const other: Handler<never, Has<User>> = (conn) => conn.withState(new Session())

// A halted branch does not count: halt or provide.
testApp([
  (conn) => (isLucky ? conn.withState(new User()) : conn.withStatus(401).halt()),
  (conn) => conn.ok(conn.state(User).name),
])
testApp([
  (conn) => (isLucky ? conn.withState(new User()) : conn.ok('nobody')),
  (conn) => conn.ok(conn.state(User).name),
])
testApp([
  async (conn) => (isLucky ? conn.withState(new User()) : conn.json(null)),
  (conn) => conn.ok(conn.state(User).name),
])
// A provider on only some paths provides nothing.
testApp([
  (conn) => (isLucky ? conn.withState(new User()) : conn),
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error on the other path there is no user
    return conn.ok(user.name)
  },
])
testApp([
  (conn) => (isLucky ? conn.withState(new User()) : conn.withState(new Session())),
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error on the other path there is a session instead
    return conn.ok(user.name)
  },
])
testApp([
  (conn) => {
    if (isLucky) return conn.withState(new User())
    return undefined
  },
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error on the other path the conn is as it was
    return conn.ok(user.name)
  },
])
testApp([
  async (conn) => {
    if (isLucky) return conn.withState(new User())
    return undefined
  },
  (conn) => {
    const user = conn.state(User)
    // @ts-expect-error on the other path the conn is as it was
    return conn.ok(user.name)
  },
])
declare const maybeLogin: (conn: Conn) => Conn | Conn<Has<User>>
// @ts-expect-error on the other path there is no user
testApp([maybeLogin, greet])
testApp([
  (conn) =>
    isLucky ? conn.withState(new User()) : conn.withState(new User()).withState(new Session()),
  (conn) => {
    const session = conn.state(Session)
    // @ts-expect-error on one path there is no session
    return conn.ok(String(session.isOpen()))
  },
])
// So it is for a conn that is one of two.
const either = isLucky ? (null! as Conn<Has<User>>) : (null! as Conn<Has<Session>>)
const eitherUser = either.state(User)
const isMaybeEither: Equal<typeof eitherUser, User | undefined> = true
// What all paths provide is provided.
testApp([
  (conn) =>
    isLucky ? conn.withState(new User()) : conn.withState(new User()).withState(new Session()),
  (conn) => conn.ok(conn.state(User).name),
])
// After a handler that always halts nothing is provided.
// @ts-expect-error it provides nothing
testApp([(conn) => conn.halt(), (conn) => conn.ok(conn.state(User).name)])

// ------------------------------------------------------------------------------ what may stand in a tuple

testApp('hello')
testApp(undefined)
testApp(null)
testApp(false)
testApp([])
testApp(new HeaderMap())
testApp({ run: (conn) => conn.ok('x') })
testApp({ beforeSend: (conn) => conn.withStatus(201) })
testApp([
  'hello',
  undefined,
  null,
  false,
  isLucky && 'lucky',
  isLucky ? (conn) => conn.ok('x') : undefined,
  new HeaderMap({ a: 'b' }),
  new Headers({ a: 'b' }),
  status(201),
  Init.new((info) => info.withSharedState(new User())),
  [],
  [['nested']],
])
testApp([
  (conn) => {
    conn.withStatus(201)
  },
  async (conn) => {
    conn.withStatus(201)
  },
  async (conn) => void conn.withStatus(201),
])
// Objects that are written in place know their parameters.
testApp([
  {
    name: 'all',
    init(info) {
      const isInfo: Equal<typeof info, Info> = true
      info.withSharedState(Count, Number(isInfo))
    },
    run(conn) {
      return conn.withState(new User())
    },
    beforeSend(conn) {
      const isBare: Equal<typeof conn, Conn> = true
      conn.withBody(String(isBare))
    },
  },
  (conn) => conn.ok(conn.state(User).name),
])
testApp([
  { init: async (info) => void info.listeners },
  { beforeSend: async (conn) => conn.withStatus(200) },
])
// beforeSend also runs where the state was never put there.
testApp([
  State.new(new User()),
  {
    beforeSend(conn) {
      const user = conn.state(User)
      const maybe: Equal<typeof user, User | undefined> = true
      conn.withBody(String(maybe))
    },
  },
])
// @ts-expect-error true is no handler
testApp([true])
// @ts-expect-error a number is no handler: say status(404)
testApp([404])
// @ts-expect-error a class is no handler: make one
testApp([GreetByObject])
// @ts-expect-error an object without run, init or beforeSend is no handler
testApp([{ handle: (conn: Conn) => conn }])
// @ts-expect-error a handler returns the conn, not a Response
testApp([() => new Response('hi')])
// @ts-expect-error a handler returns the conn, not null
testApp([() => null])
// @ts-expect-error a handler returns the conn, not a string
testApp([async () => 'hi'])
// @ts-expect-error a handler returns the conn, not a Response
const response: Handler = () => new Response('hi')
// @ts-expect-error an init returns the info or nothing
testApp([{ init: () => 'done' }])

// ---------------------------------------------------------------------- nested tuples and groups

// A nest sees what stands before it and provides to what follows.
testApp([State.new(new Session()), [login], greet])
testApp([State.new(new Session()), [[[login]]], [[greet]]])
testApp([
  State.new(new User()),
  [(conn) => conn.withState(new Session()).withResponseHeader('user', conn.state(User).name)],
  [[[[[[(conn) => conn.ok(`${conn.state(User).name}${conn.state(Session).isOpen()}`)]]]]]],
])
// handlers(…) checks as a tuple does; calls of it nest.
const group = handlers(State.new(new User()), (conn) =>
  conn.withResponseHeader('user', conn.state(User).name),
)
const isGroup: Equal<typeof group, Sequence<never, Has<User>>> = true
testApp([group, greet])
testApp(handlers(group, greet))
testApp(
  handlers(
    State.new(new User()),
    handlers((conn) => conn.ok(conn.state(User).name)),
  ),
)
testApp(
  handlers(
    State.new(new User()),
    handlers(handlers((conn) => conn.withState(new Session()))),
    (conn) => conn.ok(`${conn.state(User).name}${conn.state(Session).isOpen()}`),
  ),
)
handlers((conn) => {
  const user = conn.state(User)
  // @ts-expect-error the provider comes after the reader
  return conn.ok(user.name)
}, State.new(new User()))
// Its need comes from the annotation, and is then a need of the group.
const needyGroup: Handler<Has<Session>, Has<User>> = handlers(
  (conn) => (conn.state(Session).isOpen() ? conn : conn.halt()),
  State.new(new User()),
)
testApp([State.new(new Session()), needyGroup, greet])
// @ts-expect-error the group needs a session
testApp([needyGroup])
// A group that needs two states sees both.
const twoNeeds: Handler<Has<Session> | Has<User>> = handlers((conn) => {
  const isOpen: boolean = conn.state(Session).isOpen()
  return conn.ok(`${conn.state(User).name} ${isOpen}`)
})
testApp([State.new(new User()), State.new(new Session()), twoNeeds])
const app = (broadcaster: Broadcaster): Handler =>
  handlers(State.new(broadcaster), (conn) => {
    const taken = conn.takeState(Broadcaster)
    const same: Equal<typeof taken, Broadcaster<string>> = true
    taken.publish(String(same))
  })
testApp(app(new Broadcaster()))

// -------------------------------------------------------------------------------- lists and length

declare const list: Handler[]
declare const needyList: Handler<Has<User>>[]
declare const tree: readonly AnyHandler[]
testApp(list)
testApp(tree)
testApp([list, State.new(new User()), (conn) => conn.ok(conn.state(User).name)])
testApp([State.new(new User()), list, greet])
// @ts-expect-error the handlers of a list that was built at run time may need nothing
testApp(needyList)
const asList: HandlerList = list

// Sixteen positions are followed; those after it see what the sixteen provide.
testApp([
  'a',
  'b',
  'c',
  'd',
  'e',
  'f',
  'g',
  'h',
  'i',
  'j',
  'k',
  'l',
  'm',
  'n',
  'o',
  State.new(new User()),
  (conn) => conn.ok(conn.state(User).name),
  greet,
  'x',
  (conn) => conn.ok(conn.state(User).name),
])
// prettier-ignore
testApp([
  'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p',
  // @ts-expect-error nobody provides it
  greet,
])

// -------------------------------------------------------------------------------------- state keys

testApp([
  State.new(Db, database),
  State.new(Count, 1),
  async (conn) => {
    const count = conn.state(Count)
    const isNumber: Equal<typeof count, number> = true
    return conn.ok(await conn.state(Db).query(`${count}${isNumber}`))
  },
])
testApp([
  (conn) => {
    const count = conn.state(Count)
    const maybe: Equal<typeof count, number | undefined> = true
    return conn.ok(String(maybe))
  },
])
testApp([
  (conn) => conn.withState(Count, 1).withState(User, new Admin()),
  (conn) => conn.ok(`${conn.state(User).name}${conn.state(Count).toFixed()}`),
])
// @ts-expect-error the value is not of the key's type
State.new(Count, 'one')
// @ts-expect-error the value is not of the key's type
bare.withState(Count, 'one')
// @ts-expect-error the value is not an instance of the class
State.new(User, new Session())
// @ts-expect-error a primitive has no class of its own
State.new('text')
// @ts-expect-error a primitive has no class of its own
bare.withState(1)
// @ts-expect-error a string is no key
bare.state('user')
const key = State.key<number>()('n')
const isKey: Equal<typeof key, StateKey<'n', number>> = true
const otherKey = State.key<number>()('m')
// @ts-expect-error keys of two names are two tokens
const mixed: Handler<typeof key> = null! as Handler<typeof otherKey>

// A subclass and its base class are two tokens, in both directions.
// @ts-expect-error an Admin is stored under Admin
testApp([State.new(new Admin()), greet])
const greetAdmin: Handler<Has<Admin>> = (conn) => conn.ok(String(conn.state(Admin).isAdmin()))
// @ts-expect-error a User is no Admin
testApp([State.new(new User()), greetAdmin])
testApp([State.new(User, new Admin()), greet])

// Private and abstract constructors are keys, too.
abstract class Abstract {
  readonly #brand = true
  isIt(): boolean {
    return this.#brand
  }
}
class Private {
  readonly #brand = true
  private constructor() {}
  static make(): Private {
    return new Private()
  }
  isIt(): boolean {
    return this.#brand
  }
}
testApp([State.new(Private.make()), (conn) => conn.ok(String(conn.state(Private).isIt()))])
testApp([(conn) => conn.ok(String(conn.state(Abstract)?.isIt()))])
const abstractKey: Key = Abstract
const privateKey: Class<Private> = Private

// Reading and writing in place.
const inserted = bare.insertState(new User())
const isFormer: Equal<typeof inserted, User | undefined> = true
const insertedCount = bare.insertState(Count, 1)
const isFormerCount: Equal<typeof insertedCount, number | undefined> = true
const shared = withUser.sharedState(User)
const isMaybeShared: Equal<typeof shared, User | undefined> = true
const token: Equal<Token<typeof User>, Has<User>> = true
const keyToken: Equal<Token<typeof Db>, typeof Db> = true
const found: Equal<Lookup<Has<User> | Has<Session>, typeof User>, User> = true
const missing: Equal<Lookup<Has<Session>, typeof User>, User | undefined> = true

// ----------------------------------------------------------------------------------------- the conn

// `with…` methods keep what the conn is known to hold.
const chained = withUser
  .withStatus(200)
  .withBody('x')
  .withResponseHeader('a', 'b')
  .afterSend(() => {})
const keeps: Equal<typeof chained, Conn<Has<User>>> = true
const halted: Equal<ReturnType<Conn['ok']>, Halted> = true
const anything: Conn<Has<User> | Has<Session>> = bare.halt()
// @ts-expect-error the status is undefined until one is set
const code: number = bare.status
// @ts-expect-error bodies are text, bytes or streams
bare.ok({ a: 1 })
// @ts-expect-error an array of strings is no body
bare.withBody(['x'])

const outs: [
  Equal<Out<Conn<Has<User>>>, Has<User>>,
  Equal<Out<Promise<Conn<Has<User>>>>, Has<User>>,
  Equal<Out<Conn<Has<User>> | Halted>, Has<User>>,
  Equal<Out<Conn<Has<User>> | Conn<Has<User> | Has<Session>>>, Has<User>>,
  Equal<Out<Conn<Has<User>> | Conn<Has<Session>>>, never>,
  Equal<Out<Conn<Has<User>> | void>, never>,
  Equal<Out<Promise<Conn<Has<User>> | undefined>>, never>,
  Equal<Out<[Conn<Has<User>>, [Conn<Has<Session>>]]>, Has<User> | Has<Session>>,
  Equal<Out<Halted>, never>,
  Equal<Out<Conn>, never>,
  Equal<Out<void>, never>,
] = [true, true, true, true, true, true, true, true, true, true, true]

// Packages add methods to every conn through ConnExtensions, here by the file that declares it.
declare module './conn.ts' {
  interface ConnExtensions {
    greetForTypes(name: string): Halted
    chainForTypes(): this
  }
}
Conn.prototype.greetForTypes = function (this: Conn, name: string): Halted {
  return this.ok(`hello, ${name}`)
}
testApp([State.new(new User()), (conn) => conn.greetForTypes(conn.state(User).name)])
testApp([State.new(new User()), (conn) => conn.chainForTypes(), greet])
testApp([guest, (conn) => conn.chainForTypes().ok(conn.chainForTypes().state(User).name)])
// A method that was added and returns Halted ends a path as halt() does.
testApp([
  (conn) => (isLucky ? conn.withState(new User()) : conn.greetForTypes('nobody')),
  (conn) => conn.ok(conn.state(User).name),
])

// --------------------------------------------------------- known limits: L1 to L9 of typed-tuples.md

// L1, safe: in an array literal, a call with inline functions is resolved before its siblings.
testApp([
  State.new(new User()),
  handlers((conn) => {
    const user = conn.state(User)
    const unseen: Equal<typeof user, User | undefined> = true
    return conn.ok(String(unseen))
  }),
])
// Around it: handlers(…) instead of the literal, or a nested literal instead of the call.
testApp(
  handlers(
    State.new(new User()),
    handlers((conn) => conn.ok(conn.state(User).name)),
  ),
)
testApp([State.new(new User()), [(conn) => conn.ok(conn.state(User).name)]])

// L2, safe: siblings inside a nested literal do not see each other.
testApp([
  [
    State.new(new User()),
    (conn) => {
      const user = conn.state(User)
      const unseen: Equal<typeof user, User | undefined> = true
      return conn.ok(String(unseen))
    },
  ],
])
// @ts-expect-error so a need is not met there
testApp([[State.new(new User()), greet]])
// Around it: a group, or no nest.
testApp([handlers(State.new(new User()), greet)])

// L3, safe: a list that is spread hides the positions after it.
// @ts-expect-error its conn is an implicit any
testApp([...list, State.new(new User()), (conn) => conn.ok('x')])
// Around it: the list as one handler.
testApp([list, State.new(new User()), (conn) => conn.ok(conn.state(User).name)])

// L4, safe: a generic handler is refused.
const generic = <P>(conn: Conn<P>): Conn<P | Has<User>> => conn.withState(new User())
// @ts-expect-error what it provides is not known
testApp([State.new(new Session()), generic, greet])
// Around it: not generic, as state adds up.
const notGeneric = (conn: Conn): Conn<Has<User>> => conn.withState(new User())
testApp([
  State.new(new Session()),
  notGeneric,
  (conn) => conn.ok(`${conn.state(User).name}${conn.state(Session).isOpen()}`),
])

// L5, UNSOUND: a provider that is left out at run time is believed to provide.
testApp([isLucky ? State.new(new User()) : undefined, greet])

// L6, UNSOUND: state that was taken is still believed to be there.
testApp([
  State.new(new User()),
  (conn) => {
    conn.takeState(User)
    const user = conn.state(User)
    const believed: Equal<typeof user, User> = true
    return conn.ok(String(believed))
  },
  greet,
])

// L7, UNSOUND: two classes of one public shape are one token. A #private member tells them apart.
class Celsius {
  readonly degrees: number = 20
}
class Fahrenheit {
  readonly degrees: number = 68
}
testApp([State.new(new Celsius()), (conn) => conn.ok(conn.state(Fahrenheit).degrees.toFixed())])

// L8, safe: what the positions after the sixteenth provide is not seen.
// prettier-ignore
testApp([
  'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p',
  State.new(new User()),
  // @ts-expect-error the provider is the seventeenth
  greet,
])
// Around it: a group.
// prettier-ignore
testApp([
  handlers('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', State.new(new User())),
  greet,
])

// L9, safe: the type is on the conn that withState() returns.
testApp([
  (conn) => {
    conn.withState(new User())
    const user = conn.state(User)
    const unseen: Equal<typeof user, User | undefined> = true
    conn.withBody(String(unseen))
  },
  (conn) => {
    const user = conn.state(User)
    const unseen: Equal<typeof user, User | undefined> = true
    conn.withBody(String(unseen))
  },
])
testApp([(conn) => conn.withState(new User()), (conn) => conn.ok(conn.state(User).name)])

// L10, safe: a function that is written in place, with its `conn` untyped, provides to functions
// written in place, and not to a handler that was made elsewhere. The compiler looks at the latter
// first, when it does not know yet what the former returns.
// @ts-expect-error the provider is written in place
testApp([(conn) => conn.withState(new User()), greet])
// @ts-expect-error handlers(…) is no way around it
handlers((conn) => conn.withState(new User()), greet)
// Around it: name the type of conn, or make the provider elsewhere.
testApp([(conn: Conn) => conn.withState(new User()), greet])
testApp([async (conn: Conn) => (isLucky ? conn.withState(new User()) : conn.halt()), greet])
handlers((conn: Conn) => conn.withState(new User()), greet)
testApp([guest, greet])

export {}

// ----------------------------------------------------------------------- what is not believed

// A list that was built at run time may be empty.
const providers: Handler<never, Has<User>>[] = []
// @ts-expect-error nothing is certain to provide a User
testApp([providers, greet])
// @ts-expect-error and neither is what map() makes
testApp([['Fern'].map(() => State.new(new User())), greet])

// A halted conn may hold nothing, whatever it may stand for.
testApp((conn) => {
  const halted = conn.withStatus(403).halt()
  // @ts-expect-error possibly undefined
  void halted.state(User).name
  return halted
})

// `any` provides nothing, and may stand wherever a handler may.
declare const untyped: any
testApp([(conn: Conn) => untyped(conn), (conn) => conn.ok('x')])
// @ts-expect-error
testApp([(conn: Conn) => untyped(conn), greet])
// @ts-expect-error
testApp([State.new(untyped), greet])

// A handler may be an object without run, and an async one may return the conn on some paths only.
const stamped: Handler = { beforeSend: (conn) => void conn.withResponseHeader('x', 'y') }
const answersSome: Handler = async (conn) => {
  if (conn.path === '/') return conn.ok('x')
}
testApp([stamped, answersSome])

// -------------------------------------------------------------------------------------- fetch

toFetch([State.new(new User()), greet])
// @ts-expect-error nothing provides a User
toFetch([greet])
toFetch('hello', { peerIp: (request, env: { readonly ip: string }) => env.ip + request.url })
const served: Promise<Response> = toFetch('hello')(new Request('http://localhost/'), 'anything')

const mounted = fromFetch((request, conn: Conn<Has<User>>) => {
  return new Response(conn.state(User).name + request.url)
})
testApp([State.new(new User()), mounted])
// @ts-expect-error nothing provides a User
testApp([mounted])
testApp([fromFetch(() => undefined), fromFetch({ fetch: async () => new Response() }), 'next'])
testApp(fromFetch(toFetch('hello')))
// @ts-expect-error a text is no Response
fromFetch(() => 'hello')
void served
