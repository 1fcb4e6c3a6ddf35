import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'

import { checkBody, Chunk, concatBytes, encodeText, isBodySource } from './body.ts'
import type { Body, BodySink, BodySource } from './body.ts'
import { testApp } from './testing.ts'

const source: BodySource = { start() {}, drained() {}, stop() {}, closed() {} }

test('a body is a string, bytes, a ReadableStream, an async iterable or a source', () => {
  const bodies: Body[] = [
    '',
    'x',
    new Uint8Array(2),
    Buffer.from('x'),
    new ReadableStream<string>(),
    (async function* () {})(),
    Readable.from(['x']),
    source,
  ]
  for (const body of bodies) assert.equal(checkBody(body), body)
})

test('what is none of the kinds of body is refused and leaves the body as it was', async () => {
  const others = [
    undefined,
    null,
    1,
    true,
    {},
    ['x'],
    new ArrayBuffer(1),
    new Uint16Array(1),
    new Map(),
    () => {},
    Promise.resolve('x'),
    { start: 1 },
  ]
  for (const other of others) {
    assert.throws(() => checkBody(other), {
      name: 'TypeError',
      message:
        /^Cannot use .* as a response body: it must be a string, a Uint8Array, a ReadableStream, an async iterable or a BodySource$/,
    })
    const response = await testApp((conn) => {
      conn.withBody('kept')
      assert.throws(() => conn.withBody(other as string), TypeError)
    }).get('/')
    assert.equal(response.body, 'kept')
  }
})

test('every kind of body reaches the client, text as UTF-8', async () => {
  async function* items(): AsyncGenerator<string | Uint8Array> {
    yield 'Få'
    yield new Uint8Array()
    yield ''
    yield encodeText('rö')
  }
  const pushing: BodySource = {
    ...source,
    start(sink: BodySink) {
      sink.write(encodeText('Få'))
      sink.write(new Uint8Array())
      sink.write(new Chunk(encodeText('rö')))
      sink.end()
    },
  }
  for (const make of [
    () => 'Fårö',
    () => encodeText('Fårö'),
    () => Buffer.from('Fårö'),
    () => items(),
    () =>
      (ReadableStream as unknown as { from(items: unknown): ReadableStream<string> }).from(items()),
    () => Readable.from(items()),
    () => pushing,
  ]) {
    const response = await testApp((conn) => conn.ok(make() as Body)).get('/')
    assert.equal(response.status, 200)
    assert.deepEqual(Buffer.from(response.bytes), Buffer.from('Fårö'))
    assert.equal(response.isCut, false)
  }
})

test('an empty body of every kind is empty', async () => {
  for (const make of [
    () => '',
    () => new Uint8Array(),
    () => (async function* () {})(),
    () => Readable.from([]),
  ]) {
    const response = await testApp((conn) => conn.ok(make())).get('/')
    assert.equal(response.status, 200)
    assert.equal(response.bytes.length, 0)
    assert.equal(response.isCut, false)
  }
})

test('an item that is neither text nor bytes cuts the body and is reported', async () => {
  async function* items(): AsyncGenerator<string> {
    yield 'x'
    yield { not: 'text' } as unknown as string
  }
  const app = testApp((conn) => conn.ok(items()))
  const response = await app.get('/')
  assert.equal(response.isCut, true)
  assert.equal(response.body, 'x')
  assert.equal(app.errors[0]?.place, 'the response body')
  assert.equal(
    String(app.errors[0]?.error),
    'TypeError: Cannot write a plain object to a response body: expected a string or a Uint8Array',
  )
})

test('what pushes by itself is told by its start method', () => {
  assert.equal(isBodySource(source), true)
  for (const other of [undefined, null, 'start', {}, { start: 1 }, (async function* () {})()])
    assert.equal(isBodySource(other), false)
})

test('a Chunk is framed once, as RFC 9112 §7.1 has it', () => {
  for (const length of [1, 15, 16, 255, 70_000]) {
    const bytes = new Uint8Array(length).fill(0x78)
    const chunk = new Chunk(bytes)
    const calls: Uint8Array[] = []
    const native = (framed: Uint8Array): Uint8Array => {
      calls.push(framed)
      return Buffer.from(framed)
    }
    const framed = chunk.framed(native)
    assert.equal(chunk.framed(native), framed)
    assert.equal(calls.length, 1)
    // One piece of memory for both, once it is framed.
    assert.deepEqual(chunk.bytes, bytes)
    assert.equal(chunk.bytes.buffer, calls[0]!.buffer)
    assert.equal(
      Buffer.from(framed).toString(),
      `${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`,
    )
  }
})

test('concatBytes joins runs of bytes, and copies nothing where there is one', () => {
  const one = encodeText('one')
  assert.equal(concatBytes([one]), one)
  assert.deepEqual(concatBytes([]), new Uint8Array())
  assert.deepEqual(concatBytes([one, new Uint8Array(), encodeText('two')]), encodeText('onetwo'))
})

test('what can be iterated, or lacks a method, is no BodySource', () => {
  const source = { start() {}, drained() {}, stop() {}, closed() {} }
  assert.equal(isBodySource(source), true)
  assert.equal(isBodySource({ ...source, async *[Symbol.asyncIterator]() {} }), false)
  for (const method of Object.keys(source)) {
    assert.equal(isBodySource({ ...source, [method]: undefined }), false)
  }
})
