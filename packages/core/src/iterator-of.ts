/** Iterators that can be closed while they wait, over whatever can be iterated. */

import { callSafely } from './call-safely.ts'
import { describe } from './describe.ts'
import { isPromiseLike } from './is-promise-like.ts'

/** What can be iterated. `object`: a string is an iterable of strings, and never what was meant. */
export type IterableSource<T> = (Iterable<T> & object) | AsyncIterable<T> | ReadableStream<T>

/** An iterator of either kind. */
export type AnyIterator<T> = Iterator<T, unknown> | AsyncIterator<T, unknown>

/** Opens a source.
 * @throws {TypeError} When it is none. */
export function iteratorOf<T>(source: IterableSource<T>): AnyIterator<T> {
  if (source instanceof ReadableStream) return readerIterator(source)
  if (typeof source === 'object' && source !== null) {
    if (Symbol.asyncIterator in source) {
      const iterator = source[Symbol.asyncIterator]()
      return isNodeStream(source)
        ? { next: () => iterator.next(), return: () => destroy(source) }
        : iterator
    }
    if (Symbol.iterator in source) return source[Symbol.iterator]()
  }
  const refused: unknown = source
  if (isPromiseLike(refused)) refused.then(undefined, () => {}) // how it ends is nobody's business
  throw new TypeError(
    `Cannot stream ${describe(source)}: expected an iterable, an async iterable or a ReadableStream`,
  )
}

/** Asks an iterator to close, and does not wait for it.
 *
 * A generator that is parked on its own `await` answers `return()` only after it, which may be
 * never. What it throws while it closes concerns nobody any more. */
export function closeIterator(iterator: AnyIterator<unknown> | undefined): void {
  try {
    const closing: unknown = iterator?.return?.()
    if (isPromiseLike(closing)) closing.then(undefined, () => {})
  } catch {
    // as above, for a sync return()
  }
}

/** Lets go of a source that will not be opened.
 *
 * What is only iterable holds nothing yet, and may be somebody else's: it is left alone. */
export function discardSource(source: unknown): void {
  // A function was not called; what is no object was refused.
  if (typeof source !== 'object' || source === null) return
  if (source instanceof ReadableStream) source.cancel().catch(() => {}) // it is locked: somebody reads it
  else if (isNodeStream(source)) callSafely(() => void source.destroy())
  else if ('next' in source) closeIterator(source as AnyIterator<unknown>)
}

/** A stream by its reader, because the stream's own iterator cannot be closed while a read waits. */
function readerIterator<T>(stream: ReadableStream<T>): AsyncIterator<T, undefined> {
  const reader = stream.getReader()
  return {
    next: () => reader.read() as Promise<IteratorResult<T, undefined>>,
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    },
  }
}

/** A Node stream: its iterator, too, cannot be closed while a read waits, but the stream can. */
interface NodeStream {
  pipe(): unknown
  destroy(): unknown
}

/** By two of its methods: other things, too, can be destroyed, and go on living for others. */
function isNodeStream(source: object): source is NodeStream {
  return (
    'destroy' in source &&
    typeof source.destroy === 'function' &&
    'pipe' in source &&
    typeof source.pipe === 'function'
  )
}

function destroy(stream: NodeStream): Promise<IteratorResult<never, undefined>> {
  stream.destroy()
  return Promise.resolve({ done: true, value: undefined })
}
