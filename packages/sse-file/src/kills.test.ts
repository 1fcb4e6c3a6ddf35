import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { LogRecord } from '@wakerobin/sse'

import { tempFolder } from '../fixtures/folder.ts'
import { killOptions, numbersOf } from '../fixtures/numbered-text.ts'
import { startProgram } from '../fixtures/program.ts'
import { fileLog } from './file-log.ts'
import type { Damage } from './damage.ts'

const rounds = Number(process.env['WAKEROBIN_KILLS'] ?? 20)
/** As many logs as are killed at a time. */
const lanes = 4
const policies = ['never', 'interval', 'each'] as const

test(`whatever a log has acknowledged outlives kill -9, whole and in order (${rounds} times)`, async (t) => {
  const totals = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => killOften(t, Math.ceil((rounds - lane) / lanes))),
  )
  const acknowledged = totals.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  const torn = totals.reduce((sum, { torn }) => sum + torn, 0)
  t.diagnostic(`${acknowledged} events were acknowledged, ${torn} torn ends cut`)
  assert.ok(acknowledged > rounds)
})

/** Kills what adds to one log, again and again. */
async function killOften(
  t: TestContext,
  times: number,
): Promise<{ acknowledged: number; torn: number }> {
  const folder = tempFolder(t)
  let [acknowledged, torn] = [0, 0]
  let former: LogRecord[] = []
  for (let round = 0; round < times; round++) {
    const ids = await addUntilKilled(t, folder, policies[round % policies.length]!, round)
    const damages: Damage[] = []
    const log = fileLog(folder, { ...killOptions, onRecovery: (damage) => damages.push(damage) })
    const { first } = await log.bounds()
    const records: LogRecord[] = []
    for (let at = ''; ;) {
      const { records: some, missed, next } = await log.read(at, 500)
      assert.equal(missed, 0, `round ${round}`)
      if (some.length === 0) break
      records.push(...some)
      at = next
    }
    await log.close()
    assert.ok(
      damages.every(({ kind }) => kind === 'torn'),
      JSON.stringify(damages),
    )
    torn += damages.length

    const counts = records.map(({ id }) => Number(id.split('-')[1]))
    const start = counts[0] ?? 1
    assert.ok(
      counts.every((count, at) => count === start + at),
      'There is no gap',
    )
    assert.equal(first, records[0]?.id)
    // What was there before the round is there, but for what was let go of.
    const kept = former.filter(({ id }) => Number(id.split('-')[1]) >= start)
    assert.deepEqual(records.slice(0, kept.length), kept)
    // What is new is of this round, from its first event on, each as it was; and with it all that was acknowledged.
    const numbers = records.map(({ text }) => numbersOf(text))
    for (const [at, number] of numbers.entries()) {
      assert.ok(number !== undefined, `${records[at]!.id} is not what was added`)
      assert.deepEqual(records[at]!.topics, [`round ${number[0]}`])
    }
    const ofRound = numbers.filter((number) => number![0] === round).map((number) => number![1])
    const begin = ofRound[0] ?? 0
    assert.deepEqual(
      ofRound,
      ofRound.map((_, at) => begin + at),
    )
    if (kept.length > 0) assert.equal(begin, 0)
    const there = new Map(records.map(({ id }, at) => [id, numbers[at]!]))
    for (const [id, number] of ids) {
      if (Number(id.split('-')[1]) < start) continue // let go of
      assert.deepEqual(there.get(id), [round, number], `${id} was acknowledged`)
    }
    acknowledged += ids.length
    former = records
  }
  return { acknowledged, torn }
}

/** Has a process add events, and kills it at any moment.
 * @returns The ids that it had told, each with the number of its event. */
async function addUntilKilled(
  t: TestContext,
  folder: string,
  policy: string,
  round: number,
): Promise<[id: string, number: number][]> {
  const program = startProgram(t, 'appender.ts', [folder, policy, String(round)])
  const { process: child, closed } = program
  // Sometimes before it has added anything, or the log is open.
  if (Math.random() < 0.9) await Promise.race([once(child.stdout!, 'data'), closed])
  else await sleep(Math.random() * 400)
  await sleep(Math.random() * 60)
  child.kill('SIGKILL')
  assert.equal(await closed, 'SIGKILL', program.errors())
  const lines = program.printed().split('\n').slice(0, -1)
  return lines.map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])])
}
