/** A stand-in for a model: it says words, one after the other, and takes its time. */

import { setTimeout as sleep } from 'node:timers/promises'

/** Answers a question. The signal takes it back. */
export type Model = (question: string, signal: AbortSignal) => AsyncIterable<string>

export async function* ponder(question: string, signal: AbortSignal): AsyncGenerator<string> {
  const answer = `You ask: “${question}” Let me think. There are those who say yes, and those who say no; and a wakerobin in the woods, which says nothing, has three leaves all the same.`
  for (const word of answer.split(/(?<= )/)) {
    await sleep(200, undefined, { signal })
    yield word
  }
}
