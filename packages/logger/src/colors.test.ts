import assert from 'node:assert/strict'
import { test } from 'node:test'

import { isColorTerminal } from './colors.ts'
import { targetOf } from './target.ts'

const terminal = { isTTY: true }

test('there are colours on a terminal, and nowhere else', () => {
  assert.equal(isColorTerminal('stdout', { env: {}, stdout: terminal }), true)
  assert.equal(isColorTerminal('stderr', { env: {}, stdout: terminal }), false)
  assert.equal(isColorTerminal('stdout', { env: {}, stdout: { isTTY: false } }), false)
  assert.equal(isColorTerminal('stdout', { env: {} }), false)
  assert.equal(isColorTerminal('stdout', {}), false)
  assert.equal(typeof isColorTerminal('stdout'), 'boolean')
})

test('NO_COLOR and TERM=dumb take colours away, FORCE_COLOR gives them or takes them, and wins', () => {
  const onTerminal = (env: Record<string, string>): boolean =>
    isColorTerminal('stdout', { env, stdout: terminal })
  const inFile = (env: Record<string, string>): boolean => isColorTerminal('stdout', { env })
  assert.equal(onTerminal({ NO_COLOR: '1' }), false)
  assert.equal(onTerminal({ NO_COLOR: '' }), true) // no-color.org: not empty
  assert.equal(onTerminal({ TERM: 'dumb' }), false)
  assert.equal(onTerminal({ TERM: 'xterm' }), true)
  for (const value of ['', '1', '2', '3', 'true'])
    assert.equal(inFile({ FORCE_COLOR: value }), true)
  for (const value of ['0', 'false']) assert.equal(onTerminal({ FORCE_COLOR: value }), false)
  assert.equal(inFile({ FORCE_COLOR: '1', NO_COLOR: '1', TERM: 'dumb' }), true)
})

test('a log of your own has no colours unless asked, the console those of its terminal', (t) => {
  const former = process.env['FORCE_COLOR']
  t.after(() => {
    if (former === undefined) delete process.env['FORCE_COLOR']
    else process.env['FORCE_COLOR'] = former
  })
  process.env['FORCE_COLOR'] = '1'
  const all = { info: true, error: true }
  const none = { info: false, error: false }
  assert.deepEqual(targetOf(undefined).hasColors, all)
  assert.deepEqual(targetOf(console).hasColors, all)
  assert.deepEqual(targetOf(() => {}).hasColors, none)
  assert.deepEqual(targetOf({ info() {}, error() {} }).hasColors, none)
})
