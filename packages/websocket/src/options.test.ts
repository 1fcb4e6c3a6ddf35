import assert from 'node:assert/strict'
import { test } from 'node:test'

import { websocket } from './websocket.ts'
import type { WebSocketOptions } from './options.ts'

const refused: [options: unknown, message: RegExp][] = [
  [null, /^TypeError: Cannot open WebSockets with null as options: expected an object/],
  [[], /^TypeError: .* as options: expected an object/],
  [{ path: 5 }, /^TypeError: Cannot open WebSockets with path 5: it must be a path, as "\/chat"$/],
  [{ path: 'chat' }, /^RangeError: Cannot open WebSockets with path "chat": it must be a path/],
  [{ maxBytes: 5 }, /^TypeError: .* maxBytes: there is no such option; there are path, .* and c/],
  [{ required: 1 }, /^TypeError: .* required 1: it must be true or false$/],
  [{ compress: 'yes' }, /Error: .* compress "yes": it must be true or false$/],
  [{ protocols: 'chat' }, /Error: .* protocols "chat": it must be a list of names$/],
  [{ protocols: ['a b'] }, /^RangeError: .* the protocol "a b": it must be a name/],
  [{ protocols: [5] }, /^TypeError: .* the protocol 5: it must be a name/],
  [
    { messageBytes: 0 },
    /^RangeError: .* messageBytes 0: it must be a whole number of bytes from 1/,
  ],
  [{ messageBytes: Infinity }, /^RangeError: .* messageBytes Infinity/],
  [{ messageBytes: 1.5 }, /^RangeError: .* messageBytes 1.5/],
  [{ messageBytes: '1' }, /Error: .* messageBytes "1"/],
  [{ bufferBytes: -1 }, /^RangeError: .* bufferBytes -1: it must be a number of bytes from 0$/],
  [{ bufferBytes: Number.NaN }, /^RangeError: .* bufferBytes NaN/],
  [{ pingMs: -1 }, /^RangeError: .* pingMs -1: it must be a number of milliseconds from 0 to \d+$/],
  [{ pingMs: Infinity }, /^RangeError: .* pingMs Infinity/],
  [{ closeTimeoutMs: true }, /^TypeError: .* closeTimeoutMs true/],
]

for (const [options, message] of refused) {
  test(`${JSON.stringify(options)} is refused, with what would be right: ${message.source}`, () => {
    assert.throws(() => websocket(() => {}, options as WebSocketOptions), message)
  })
}

test('what is no function cannot handle WebSockets', () => {
  assert.throws(
    () => websocket('hello' as unknown as () => void),
    /^TypeError: Cannot open WebSockets with "hello": expected a function of the socket$/,
  )
})

test('a handler has the name of its function in reports', () => {
  assert.equal(websocket(() => {}).name, 'websocket')
  assert.equal(websocket(function chat() {}).name, 'websocket(chat)')
})
