import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { test } from 'node:test'

import { until } from '../fixtures/harness.ts'
import { addressToBind, StartError } from './address.ts'
import type { AddressOptions, Bind, Env } from './address.ts'

const loopback = ['127.0.0.1', '::1']
const at = (hosts: string[], port: number): Bind[] => [
  { hosts, port, isFromEnv: true, tls: undefined },
]
const both = (port: number): Bind[] => at(loopback, port)
const one = (host: string, port: number): Bind[] => at([host], port)
const fds = (...numbers: number[]): Bind[] => numbers.map((fd) => ({ fd, tls: undefined }))

test('the address is that of the options, else HOST and PORT, else localhost and 8080', () => {
  assert.deepEqual(addressToBind({}, {}), both(8080))
  assert.deepEqual(addressToBind({}, { HOST: '', PORT: '' }), both(8080))
  assert.deepEqual(addressToBind({}, { PORT: '0' }), both(0))
  assert.deepEqual(addressToBind({}, { PORT: '65535' }), both(65_535))
  const given = { hosts: loopback, port: 1, tls: undefined }
  assert.deepEqual(addressToBind({ port: 1 }, { PORT: '2' }), [given])
  assert.deepEqual(addressToBind({ host: 'localhost' }, { HOST: '10.0.0.1' }), both(8080))
  assert.deepEqual(addressToBind({}, { HOST: '0.0.0.0', PORT: '80' }), one('0.0.0.0', 80))
  assert.deepEqual(addressToBind({ host: '::' }, { PORT: '80' }), one('::', 80))
})

test('a host that begins with a dot, a slash or a tilde is the path of a Unix socket, and has no port', () => {
  const paths = { '/run/app.sock': '/run/app.sock', './app.sock': './app.sock' }
  for (const [host, path] of Object.entries({ ...paths, '~/app.sock': `${homedir()}/app.sock` })) {
    assert.deepEqual(addressToBind({ host, port: 80 }, {}), [{ path, tls: undefined }])
    assert.deepEqual(addressToBind({}, { HOST: host, PORT: 'not looked at' }), [
      { path, tls: undefined },
    ])
  }
  assert.throws(() => addressToBind({ host: '~fern/app.sock' }, {}), {
    name: 'StartError',
    message:
      "Cannot listen on ~fern/app.sock: of home folders only one's own is known, as in ~/app.sock; ./~fern/app.sock for a file of that name",
  })
})

test('a host that is no text is refused', () => {
  for (const [host, shown] of [
    [5, '5'],
    [null, 'null'],
    [['::'], 'an array of 1'],
  ])
    assert.throws(() => addressToBind({ host } as AddressOptions, {}), {
      name: 'StartError',
      message: `Cannot listen on host ${shown}: it must be a host name, an address or the path of a Unix socket`,
    })
})

test('sockets that the parent has handed over come before hosts and ports, and belong to one server', () => {
  const pid = String(process.pid)
  const env: Env = { LISTEN_FDS: '2', LISTEN_PID: pid, LISTEN_FDNAMES: 'web:admin', PORT: '80' }
  const tls = { certFile: 'cert.pem', keyFile: 'key.pem' }
  assert.deepEqual(addressToBind({ host: '0.0.0.0', port: 1, tls }, env), [
    { fd: 3, tls },
    { fd: 4, tls },
  ])
  assert.deepEqual(env, { PORT: '80' }, 'they are taken')
  assert.deepEqual(addressToBind({}, env), both(80))
})

test('of LISTEN_FDS and LISTEN_FD the first counts, and LISTEN_PID may be missing, but not be that of another process', () => {
  assert.deepEqual(addressToBind({}, { LISTEN_FDS: '1' }), fds(3))
  assert.deepEqual(addressToBind({}, { LISTEN_FDS: '1', LISTEN_PID: '' }), fds(3))
  assert.deepEqual(addressToBind({}, { LISTEN_FD: '7' }), fds(7))
  assert.deepEqual(addressToBind({}, { LISTEN_FDS: '1', LISTEN_FD: '7' }), fds(3))
  assert.deepEqual(addressToBind({}, { LISTEN_FDS: '0', LISTEN_FD: '' }), both(8080))
  const others = { LISTEN_FDS: '1', LISTEN_PID: String(process.ppid) }
  const env: Env = { ...others }
  assert.deepEqual(addressToBind({}, env), both(8080))
  assert.deepEqual(env, others, 'they are not ours to take')
})

test('sockets that the parent has handed over come before the path of a Unix socket', () => {
  const env: Env = { HOST: '/run/app.sock', LISTEN_FDS: '1' }
  assert.deepEqual(addressToBind({}, env), fds(3))
  assert.deepEqual(addressToBind({}, env), [{ path: '/run/app.sock', tls: undefined }], 'the next')
  assert.deepEqual(addressToBind({ host: './app.sock' }, { LISTEN_FD: '7' }), fds(7))
})

test('a number of sockets that is none is refused', () => {
  for (const LISTEN_FDS of ['x', '-1', '1.5', '1001'])
    assert.throws(() => addressToBind({}, { LISTEN_FDS }), {
      name: 'StartError',
      message: `Cannot listen on LISTEN_FDS "${LISTEN_FDS}": it must be the number of sockets, from 0 to 1000`,
    })
  for (const LISTEN_FD of ['x', '2', '-3', '99999999999'])
    assert.throws(() => addressToBind({}, { LISTEN_FD }), {
      name: 'StartError',
      message: `Cannot listen on LISTEN_FD "${LISTEN_FD}": it must be the number of a file descriptor, from 3`,
    })
})

test('a list of sockets says all: the environment is not looked at', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await until('it listens', () => server.listening)
  const tls = { pfx: 'x' }
  const listen = [
    { port: 80 },
    { host: '0.0.0.0', port: 443, tls },
    { path: 'app.sock', mode: 0o660 },
    { path: '~/app.sock' },
    { fd: 3 },
    { server, tls },
  ]
  const env: Env = { HOST: '/run/app.sock', PORT: 'not looked at', LISTEN_FDS: '1' }
  assert.deepEqual(addressToBind({ listen }, env), [
    { hosts: ['127.0.0.1', '::1'], port: 80, tls: undefined },
    { hosts: ['0.0.0.0'], port: 443, tls },
    { path: 'app.sock', mode: 0o660, tls: undefined },
    { path: `${homedir()}/app.sock`, mode: undefined, tls: undefined },
    { fd: 3, tls: undefined },
    { server, tls },
  ])
  assert.equal(env.LISTEN_FDS, '1')
})

test('a list with something in it that is no socket is refused, and says which and why', () => {
  const one = 'it must have one of port, path, fd and server'
  const cases: [unknown, string][] = [
    [[], 'no socket: listen must be an array of sockets, such as [{ port: 8080 }]'],
    [80, '80: listen must be an array of sockets, such as [{ port: 8080 }]'],
    [[80], `listen[0], 80: ${one}`],
    [[null], `listen[0], null: ${one}`],
    [[{ port: 0 }, {}], `listen[1], with nothing: ${one}`],
    [[{ port: 1, path: 'x' }], `listen[0], with port and path: ${one}`],
    [[{ port: 1, hots: 'x' }], 'listen[0] with hots: beside port it may have host and tls'],
    [[{ port: 1, mode: 0 }], 'listen[0] with mode: beside port it may have host and tls'],
    [[{ path: 'x', host: 'y' }], 'listen[0] with host: beside path it may have mode and tls'],
    [[{ fd: 3, host: 'y' }], 'listen[0] with host: beside fd it may have tls'],
    [[{ port: '80' }], 'listen[0].port "80": it must be an integer from 0 to 65535'],
    [
      [{ host: './x', port: 1 }],
      'listen[0].host "./x": it must be a host name or an address; a Unix socket is { path }',
    ],
    [[{ path: '' }], 'listen[0].path "": it must be a path'],
    [[{ path: 'a\0b' }], 'listen[0].path "a\\u0000b": it must be a path'],
    [[{ fd: -1 }], 'listen[0].fd -1: it must be the number of a file descriptor'],
    [[{ server: {} }], 'listen[0].server a plain object: it must be a Server of node:net'],
    [
      [{ server: createServer() }],
      "listen[0].server, which does not listen: call its listen() and wait for 'listening', or give its address in its place",
    ],
    [
      [{ server: createHttpServer() }],
      'listen[0].server, a server that reads its connections itself: it must be a Server of node:net, with tls beside it for HTTPS',
    ],
  ]
  for (const [listen, message] of cases)
    assert.throws(() => addressToBind({ listen } as AddressOptions, {}), {
      name: 'StartError',
      message: `Cannot listen on ${message}`,
    })
  for (const mode of [-1, 0o1000, 1.5, '660'])
    assert.throws(() => addressToBind({ listen: [{ path: 'x', mode: mode as number }] }, {}), {
      name: 'StartError',
      message: /^Cannot listen with listen\[0\]\.mode .+: it must be an integer from 0 to 0o777$/,
    })
  for (const other of [{ host: 'x' }, { port: 1 }, { tls: {} }])
    assert.throws(() => addressToBind({ listen: [{ port: 1 }], ...other }, {}), {
      name: 'StartError',
      message: /^Cannot listen with both listen and (\w+): put the \1 into listen$/,
    })
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
