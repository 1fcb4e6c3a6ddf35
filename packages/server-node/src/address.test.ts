import assert from 'node:assert/strict'
import { test } from 'node:test'

import { addressToBind, StartError } from './address.ts'

const both = (port: number) => [
  { host: '127.0.0.1', port, isOptional: false },
  { host: '::1', port, isOptional: true },
]

test('the address is that of the options, else HOST and PORT, else localhost and 8080', () => {
  assert.deepEqual(addressToBind({}, {}), both(8080))
  assert.deepEqual(addressToBind({}, { HOST: '', PORT: '' }), both(8080))
  assert.deepEqual(addressToBind({}, { PORT: '0' }), both(0))
  assert.deepEqual(addressToBind({}, { PORT: '65535' }), both(65_535))
  assert.deepEqual(addressToBind({ port: 1 }, { PORT: '2' }), both(1))
  assert.deepEqual(addressToBind({ host: 'localhost' }, { HOST: '10.0.0.1' }), both(8080))
  assert.deepEqual(addressToBind({}, { HOST: '0.0.0.0', PORT: '80' }), [
    { host: '0.0.0.0', port: 80, isOptional: false },
  ])
  assert.deepEqual(addressToBind({ host: '::' }, { PORT: '80' }), [
    { host: '::', port: 80, isOptional: false },
  ])
})

test('a host that begins with a dot, a slash or a tilde is the path of a Unix socket, and has no port', () => {
  for (const host of ['/run/app.sock', './app.sock', '~/app.sock']) {
    assert.deepEqual(addressToBind({ host, port: 80 }, {}), [{ path: host }])
    assert.deepEqual(addressToBind({}, { HOST: host, PORT: 'not looked at' }), [{ path: host }])
  }
})

test('a port that is none is refused, in one line that says what would be right', () => {
  for (const PORT of ['http', '80a', ' 80', '-1', '65536', '1.5', '0x50', '1e3'])
    assert.throws(() => addressToBind({}, { PORT }), {
      name: 'StartError',
      message: `Cannot listen on PORT ${JSON.stringify(PORT)}: it must be an integer from 0 to 65535`,
    })
  for (const port of [-1, 65_536, 1.5, NaN, '80' as unknown as number])
    assert.throws(
      () => addressToBind({ port }, {}),
      (error: Error) => error instanceof StartError && !error.message.includes('\n'),
    )
})
