/** Events of an event stream: what may be sent, and a class that makes them.
 *
 * Source: WHATWG HTML §9.2 (#server-sent-events). */

import { checkFields, checkText } from './check-fields.ts'

/** The fields of an event. Each is optional; what is undefined is not sent. */
export interface EventFields {
  /** The text that the client gets as `event.data`. It may have many lines, 131,072 at most, and
   * 16 Mi characters; `''` is an event too. */
  readonly data?: string | undefined
  /** The type that listeners are registered for. Without one it is `message`. `error` reaches
   * `onerror` too. One line, no control characters, 16 Mi characters at most; only together with `data`. */
  readonly type?: string | undefined
  /** What the client sends back as `Last-Event-ID` when it reconnects; `''` makes it forget. One
   * line, no control characters, at most 1,024 characters. Only printable ASCII survives the way
   * back in every client. */
  readonly id?: string | undefined
  /** How long the client waits before it reconnects, in milliseconds: an integer from 0. */
  readonly retry?: number | undefined
  /** A note that clients ignore. It may have many lines. */
  readonly comment?: string | undefined
}

/** What an event stream can be made of: a string is the data of a `message`. */
export type Eventable = string | EventFields

/** An event. It never changes: `with…` makes a new one.
 *
 * ```ts
 * import { SseEvent } from '@wakerobin/sse'
 *
 * const event = SseEvent.new('{"user":"alice"}').withType('joined').withId('7')
 * ```
 * Every field is checked when it is given: see `EventFields` for what each may hold. */
export class SseEvent implements EventFields {
  // What has it was checked; what only has the prototype was not.
  readonly #isChecked = true
  readonly data: string | undefined
  readonly type: string | undefined
  readonly id: string | undefined
  readonly retry: number | undefined
  readonly comment: string | undefined

  private constructor(fields: EventFields) {
    const { data, type, id, retry, comment } = checkFields(fields)
    this.data = data
    this.type = type
    this.id = id
    this.retry = retry
    this.comment = comment
    Object.freeze(this) // a broadcaster gives one event to many
  }

  /** Whether `value` is an event that was made, and so checked, here. */
  static is(value: unknown): value is SseEvent {
    return typeof value === 'object' && value !== null && #isChecked in value && value.#isChecked
  }

  /** Makes an event of its data.
   * @throws {TypeError} When `data` is not a string. */
  static new(data: string): SseEvent {
    checkText('data', data)
    return new SseEvent({ data })
  }

  /** Makes a comment: clients read it and do nothing. */
  static comment(text: string): SseEvent {
    checkText('comment', text)
    return new SseEvent({ comment: text })
  }

  /** Makes an event of anything eventable; an `SseEvent` is returned as it is. */
  static from(eventable: Eventable): SseEvent {
    if (SseEvent.is(eventable)) return eventable
    return typeof eventable === 'string' ? SseEvent.new(eventable) : new SseEvent(eventable)
  }

  withData(data: string): SseEvent {
    return new SseEvent({ ...this, data })
  }

  /** @throws {TypeError} When `type` has a line break or a control character.
   * @throws {RangeError} When it is longer than 16 Mi characters. */
  withType(type: string): SseEvent {
    return new SseEvent({ ...this, type })
  }

  /** @throws {TypeError} When `id` has a line break or a control character.
   * @throws {RangeError} When it is longer than 1,024 characters. */
  withId(id: string): SseEvent {
    return new SseEvent({ ...this, id })
  }

  /** @param retry How long the client waits before it reconnects, in milliseconds.
   * @throws {RangeError} When it is not an integer from 0. */
  withRetry(retry: number): SseEvent {
    return new SseEvent({ ...this, retry })
  }

  withComment(comment: string): SseEvent {
    return new SseEvent({ ...this, comment })
  }
}
