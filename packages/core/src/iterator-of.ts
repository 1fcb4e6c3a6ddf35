/** Iterators that can be closed while they wait, over whatever can be iterated. */

import { callSafely } from './call-safely.ts'
import { describe } from './describe.ts'

/** What can be iterated. `object`: a string is an iterable of strings, and never what was meant. */
export type IterableSource<T> = (Iterable<T> & object) | AsyncIterable<T> | ReadableStream<T>

export type AnyIterator<T> = Iterator<T, unknown> | AsyncIterator<T, unknown>

/** Opens a source.
 * @throws {TypeError} When it is none. */
export function iteratorOf<T>(source: IterableSource<T>): AnyIterator<T> {
  if (source instanceof ReadableStream) return readerIterator(source)
  if (typeof source === 'object' && source !== null) {
    if (Symbol.asyncIterator in source) {
      const iterator = source[Symbol.asyncIterator]()
      return isDestroyable(source)
        ? { next: () => iterator.next(), return: () => destroy(source) }
        : iterator
    }
    if (Symbol.iterator in source) return source[Symbol.iterator]()
  }
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
    if (closing instanceof Promise) closing.catch(() => {})
  } catch {
    // as above, for a sync return()
  }
}

/** Lets go of a source that will not be opened. */
export function discardSource(source: unknown): void {
  // A function was not called; what is no object was refused.
  if (typeof source !== 'object' || source === null) return
  if (source instanceof ReadableStream) source.cancel().catch(() => {}) // it is locked: somebody reads it
  else if (isDestroyable(source)) callSafely(() => void source.destroy())
  else if ('return' in source) closeIterator(source as unknown as AnyIterator<unknown>)
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

/** A node stream: its iterator, too, cannot be closed while a read waits, but the stream can. */
interface Destroyable {
  destroy(): unknown
}

function isDestroyable(source: object): source is Destroyable {
  return 'destroy' in source && typeof source.destroy === 'function'
}

function destroy(stream: Destroyable): Promise<IteratorResult<never, undefined>> {
  stream.destroy()
  return Promise.resolve({ done: true, value: undefined })
}
