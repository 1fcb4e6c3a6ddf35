/** A web stream of an async iterable, which is not opened before somebody reads, and never read ahead. */

import { closeIterator } from './iterator-of.ts'

/** What the iterable throws is the error of the stream; who cancels the stream closes it. */
export function lazyStream<T>(items: AsyncIterable<T>): ReadableStream<T> {
  let iterator: AsyncIterator<T> | undefined
  return new ReadableStream<T>(
    {
      async pull(controller) {
        iterator ??= items[Symbol.asyncIterator]()
        const { value, done } = await iterator.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => closeIterator(iterator),
    },
    { highWaterMark: 0 },
  )
}
