/** What the compiler promises about event streams, checked by tsc alone: nothing here runs. */

import { Conn, handlers, State, type Halted, type Handler, type Has } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { Broadcaster, Event, memoryLog, Runs, sse, SseEvent, withSseStream } from './index.ts'
import type {
  Eventable,
  EventFields,
  Run,
  RunEndReason,
  SseOptions,
  SseSource,
  Subscription,
} from './index.ts'
import { testStream } from './testing.ts'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

declare const conn: Conn
declare const source: SseSource

// withSseStream is on every conn, whatever it holds, and halts.
const method: Equal<ReturnType<typeof conn.withSseStream>, Halted> = true
const holding = (c: Conn<Has<Broadcaster>>): Halted => c.withSseStream(c.state(Broadcaster))
const func: Equal<ReturnType<typeof withSseStream>, Halted> = true
const after: Equal<Conn<Has<Broadcaster>>['withSseStream'], Conn['withSseStream']> = true

// What an event stream can be made from.
conn.withSseStream(source)
conn.withSseStream(['one', SseEvent.new('two'), { data: 'three', id: '3', retry: 0 }] as const)
conn.withSseStream(new Set(['one']))
conn.withSseStream(new Broadcaster())
conn.withSseStream(new Broadcaster().subscribe())
conn.withSseStream(new ReadableStream<SseEvent>())
conn.withSseStream(() => new Broadcaster())
conn.withSseStream(async function* (signal) {
  const given: Equal<typeof signal, AbortSignal> = true
  yield 'one'
  yield { comment: String(given) }
})
conn.withSseStream(function* () {
  yield SseEvent.comment('note')
})

// A string is an Iterable<string>, but nobody means a stream of characters.
// @ts-expect-error a string is no stream
conn.withSseStream('text')
// @ts-expect-error and neither is what returns one
conn.withSseStream(() => 'text')

// What it cannot be made from.
// @ts-expect-error one event is no stream
conn.withSseStream(SseEvent.new('x'))
// @ts-expect-error nor are its fields
conn.withSseStream({ data: 'x' })
// @ts-expect-error a stream must be there
conn.withSseStream(undefined)
// @ts-expect-error numbers are no events
conn.withSseStream([1, 2])
// @ts-expect-error bytes are numbers
conn.withSseStream(new Uint8Array())
// @ts-expect-error a promise is to be awaited first
conn.withSseStream(Promise.resolve(['x']))
// @ts-expect-error the same for a function
conn.withSseStream(async () => ['x'])

// How it behaves.
declare const options: SseOptions
const range: Equal<SseOptions['stopRetryMs'], readonly [min: number, max: number] | undefined> =
  true
conn.withSseStream(source, options)
conn.withSseStream(source, {})
conn.withSseStream(source, { stopRetryMs: [0, 1000], finish: true })
withSseStream(conn, source, { stopRetryMs: [0, 1000] as const })
// @ts-expect-error a range has two ends
conn.withSseStream(source, { stopRetryMs: [1000] })
// @ts-expect-error and is no number
conn.withSseStream(source, { stopRetryMs: 1000 })
// @ts-expect-error yes or no
conn.withSseStream(source, { finish: 'yes' })
// @ts-expect-error no such option
withSseStream(conn, source, { stopRetry: [0, 1000] })

// Events.
const same: Equal<Event, SseEvent> = true
const event: Eventable = Event.new('x').withType('t').withId('1').withRetry(0).withComment('c')
const fields: EventFields = SseEvent.from(event)
const none: Eventable = {} // refused at run time: every field is optional
// @ts-expect-error `new` is `SseEvent.new`
const constructed = new SseEvent({ data: 'x' })
// @ts-expect-error an event never changes
SseEvent.new('x').data = 'y'
// @ts-expect-error retry is a number of milliseconds
SseEvent.new('x').withRetry('5')
// @ts-expect-error data is text
SseEvent.new(5)

// The broadcaster.
const broadcaster = new Broadcaster({ historyEvents: 10, historyBytes: 1000 })
const id: Equal<ReturnType<typeof broadcaster.publish>, Promise<string>> = true
const subscription: Equal<ReturnType<typeof broadcaster.subscribe>, Subscription> = true
broadcaster.publish('data')
broadcaster.publish('type', 'data')
broadcaster.publish({ data: 'x', type: 't' })
broadcaster.publish(SseEvent.new('x'))
// @ts-expect-error a value is to be made text
broadcaster.publish('type', { user: 'alice' })
// @ts-expect-error an event has its type in itself
broadcaster.publish(SseEvent.new('x'), 'data')
// @ts-expect-error
broadcaster.publish()
broadcaster.publish('type', 'data', { topic: 'a', id: '5' })
broadcaster.publish('type', 'data', { topic: ['a', 'b'] as const })
// @ts-expect-error topics are text
broadcaster.publish('type', 'data', { topic: 5 })
// @ts-expect-error no such option
broadcaster.publish('type', 'data', { topics: ['a'] })
broadcaster.subscribe({
  topics: ['a'] as const,
  allow: (topic) => topic.length > 1,
  lastEventId: '',
})
// @ts-expect-error yes or no, and at once
broadcaster.subscribe({ allow: async () => true })
broadcaster.disconnect(({ conn, topics, sent, dropped, behind }) => {
  const types: Equal<
    [typeof conn, typeof topics, typeof sent, typeof dropped, typeof behind],
    [Conn | undefined, readonly string[] | undefined, number, number, number]
  > = true
  return types
}, 'revoked')
// @ts-expect-error a reason is one of a few
broadcaster.disconnect(() => true, 'because')
const prices = new Broadcaster({
  whenBehind: 'coalesce',
  coalesce: { price: true, trade: (data) => data.slice(1) },
})
const plain: Equal<typeof prices, Broadcaster> = true
prices.publish('any type', 'any text')
// @ts-expect-error no such policy
new Broadcaster({ whenBehind: 'drop' })

// A broadcaster that knows its events.
interface Order {
  readonly id: string
  readonly total: number
}
declare const order: Order
const orders = new Broadcaster<{ created: Order; shipped: { id: string }; message: string }>()
orders.publish('created', order)
orders.publish('shipped', { id: '5' }, { topic: 'user 7' })
orders.publish('shipped', order)
orders.publish('message', 'hello')
orders.publish('hello')
// @ts-expect-error a part is missing
orders.publish('created', { id: '5' })
// @ts-expect-error that is not its data
orders.publish('shipped', 'text')
// @ts-expect-error no such type
orders.publish('shiped', { id: '5' })
// @ts-expect-error a whole event would go past the check
orders.publish({ type: 'created', data: 'x' })
// @ts-expect-error the same
orders.publish(SseEvent.new('x'))

// Without `message: string` there is no form of one argument.
interface OrderEvents {
  created: Order
  shipped: { id: string }
}
class Orders extends Broadcaster<OrderEvents> {}
const shop = new Orders({ historyEvents: 5 })
shop.publish('created', order)
// @ts-expect-error wrong data
shop.publish('created', { id: 5, total: 1 })
// @ts-expect-error no such type
shop.publish('message', 'hello')
// @ts-expect-error there are no messages
shop.publish('hello')
// @ts-expect-error data there must be
shop.publish('shipped')
const numbers = new Broadcaster<{ message: number }>()
numbers.publish('message', 5)
// @ts-expect-error a message is a number
numbers.publish('5')
// @ts-expect-error and is said to be a message
numbers.publish(5)

// Keys are made of the data of their type.
new Broadcaster<OrderEvents>({
  whenBehind: 'coalesce',
  coalesce: {
    created: ({ id, total }) => {
      const data: Equal<[typeof id, typeof total], [string, number]> = true
      return `${id} ${data}`
    },
    shipped: true,
  },
})
// @ts-expect-error no such type
new Broadcaster<OrderEvents>({ whenBehind: 'coalesce', coalesce: { cancelled: true } })
new Broadcaster<OrderEvents>({
  whenBehind: 'coalesce',
  // @ts-expect-error a key is text
  coalesce: { created: ({ total }) => total },
})
// @ts-expect-error the data has no name
new Broadcaster<OrderEvents>({ whenBehind: 'coalesce', coalesce: { shipped: ({ name }) => name } })

// What publishes some events is no broadcaster of others.
// @ts-expect-error it may be given what these have not
const wider: Broadcaster<{ created: Order; shipped: unknown }> = shop
// @ts-expect-error it publishes no text
const text: Broadcaster = shop

// Any of them is a stream, and a state.
const sources: SseSource[] = [
  orders,
  shop,
  numbers,
  orders.subscribe(),
  shop.subscribe({ topics: ['a'] }),
]
conn.withSseStream(shop)
conn.withSseStream(orders.subscribe())
conn.withSseStream(() => shop)
const shopEvents: Handler<Has<Orders>> = (conn) => conn.withSseStream(conn.state(Orders))
testApp([State.new(shop), shopEvents])
testApp([
  State.new(shop),
  (conn) => {
    const state: Equal<ReturnType<typeof conn.state<typeof Orders, typeof conn>>, Orders> = true
    conn.state(Orders).publish('shipped', { id: String(state) })
    // @ts-expect-error wrong data
    conn.state(Orders).publish('shipped', { id: 5 })
    return conn.withSseStream(conn.state(Orders))
  },
])
testApp(
  handlers(
    State.new(shop),
    sse<Has<Orders>>((conn) => conn.state(Orders)),
  ),
)
// @ts-expect-error nobody provides it
testApp([shopEvents])
void [id, plain, wider, text, sources]

async function read(): Promise<void> {
  for await (const each of shop) {
    const isEvent: Equal<typeof each, SseEvent> = true
    void isEvent
  }
  for await (const each of broadcaster) {
    const isEvent: Equal<typeof each, SseEvent> = true
  }
}

// The goal programs, in the form of handlers(…) and in that of an array.
testApp((conn) => conn.withSseStream(['one', 'two', 'three']))
testApp((conn) =>
  conn.withSseStream([
    SseEvent.new('connection established').withType('status'),
    SseEvent.new('{"user":"alice","action":"joined"}').withType('message'),
  ]),
)

const app = (broadcaster: Broadcaster): Handler =>
  handlers(State.new(broadcaster), (conn) => conn.withSseStream(conn.takeState(Broadcaster)))
testApp(app(new Broadcaster()))
testApp([
  State.new(new Broadcaster()),
  (conn) => {
    const taken: Equal<
      ReturnType<typeof conn.takeState<typeof Broadcaster, typeof conn>>,
      Broadcaster
    > = true
    return conn.withSseStream(conn.takeState(Broadcaster))
  },
])

const events: Handler<Has<Broadcaster>> = (conn) => conn.withSseStream(conn.state(Broadcaster))
testApp([State.new(new Broadcaster()), events])
testApp(handlers(State.new(new Broadcaster()), events))
testApp(handlers(handlers(State.new(new Broadcaster())), handlers(events)))

// The same programs without their broadcaster do not compile.
// @ts-expect-error nobody provides it
testApp([events])
// @ts-expect-error it comes too late
testApp([events, State.new(new Broadcaster())])
// @ts-expect-error nobody provides it
const lacking: Handler = handlers(events)
// @ts-expect-error what may be undefined is no stream
testApp(handlers((conn) => conn.withSseStream(conn.state(Broadcaster))))
// @ts-expect-error what may be undefined is no stream
testApp([(conn) => conn.withSseStream(conn.takeState(Broadcaster))])

export {}

// Options of sse() see the state that the handlers before provide.
class Token {
  readonly #expires = new Date()
  get expires(): Date {
    return this.#expires
  }
}
const auth = (c: Conn) => c.withState(new Token())
const limited: Handler = handlers(
  auth,
  sse(() => ['x'], {
    until: (c) => c.state(Token).expires,
    onEnd: (c, end) => void [c.state(Token).expires, end.reason],
  }),
)
const typed: Handler<Has<Token>> = sse<Has<Token>>(() => ['x'], {
  until: (c) => c.state(Token).expires,
})
// @ts-expect-error nobody provides a Token
const unlimited: Handler = handlers(sse(() => ['x'], { until: (c) => c.state(Token).expires }))
void [limited, typed, unlimited]

// A stream under test knows the data of its types.
async function typedStream(): Promise<void> {
  const stream = await testStream<OrderEvents>(testApp(sse(() => shop)), '/')
  const { id } = (await stream.next('shipped')).json()
  const exact: Equal<typeof id, OrderEvents['shipped']['id']> = true
  const gap: unknown = (await stream.next('gap')).json()
  void [exact, gap]
}
void typedStream

// A note is no event of any type: every broadcaster takes it.
void shop.publish({ comment: 'still here' })
void shop.publish({ retry: 5000 }, { topic: 'a' })
// @ts-expect-error with data it is one
void shop.publish({ data: 'x' })

// A run is a source, its work what withSseStream takes, too, or a promise of it; attach answers.
async function typedRuns(c: Conn<Has<Token>>): Promise<Halted> {
  const runs = new Runs({
    open: async () => memoryLog(),
    mapEnd: ({ reason, error }) => {
      const given: Equal<typeof error, unknown> = true
      return given && reason === 'lost' ? undefined : { data: reason }
    },
    remove: async (id) => id.length,
  })
  const started: Equal<ReturnType<typeof runs.start>, Promise<Run>> = true
  const run = await runs.start('1', (signal) => {
    const given: Equal<typeof signal, AbortSignal> = true
    return given ? ['one', SseEvent.new('two'), { data: 'three' }] : new Set(['one'])
  })
  await runs.start('2', async () => new ReadableStream<SseEvent>(), { swansong: c.swansong })
  await runs.start('3', async function* () {
    yield 'one'
  })
  // @ts-expect-error a string is no stream
  await runs.start('4', () => 'one')
  // @ts-expect-error numbers are no events
  await runs.start('5', () => [1])
  const reason: Equal<typeof run.endReason, RunEndReason | undefined> = true
  for await (const event of run) {
    const exact: Equal<typeof event, SseEvent> = true
    void exact
  }
  const found: Equal<Awaited<ReturnType<typeof runs.get>>, Run | undefined> = true
  // @ts-expect-error what may be undefined is no stream
  c.withSseStream(await runs.get('1'))
  void sse(() => runs.get('1'))
  void sse((context) => runs.attach(context, '1'))
  void [started, reason, found, c.withSseStream(run)]
  return runs.attach(c, '1', { lastEventId: '7', finish: true })
}
void typedRuns
