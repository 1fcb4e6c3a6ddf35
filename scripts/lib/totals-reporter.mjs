// A reporter for node:test that yields one line:
// "tests: 6 passed, 0 failed, 0 skipped, 0 todo (1.2 s)".

/** @param {AsyncIterable<{ type: string, data: any }>} events */
export default async function* totals(events) {
  const counts = { passed: 0, failed: 0, skipped: 0, todo: 0 }
  const start = performance.now()
  for await (const { type, data } of events) {
    const outcome = outcomeOf(type, data)
    if (outcome) counts[outcome]++
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  yield `\ntests: ${Object.entries(counts)
    .map(([outcome, count]) => `${count} ${outcome}`)
    .join(', ')} (${seconds} s)`
}

function outcomeOf(type, data) {
  if (type !== 'test:pass' && type !== 'test:fail') return undefined
  if (data.details?.type === 'suite') return undefined
  if (data.skip !== undefined && data.skip !== false) return 'skipped'
  if (data.todo !== undefined && data.todo !== false) return 'todo'
  return type === 'test:pass' ? 'passed' : 'failed'
}
