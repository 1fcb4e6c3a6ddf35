/** What was found damaged in a log. */

/** Something in the files of a log that is no event any more. */
export interface Damage {
  /** `torn`: the end of the newest file was no whole event, as after a loss of power or a write that was broken off; it was
   * cut. `corrupt`: bytes in the middle are not what was written; they were left in the file, are passed over, and what
   * follows is read. `missing`: a file is gone, or the events in it. */
  readonly kind: 'torn' | 'corrupt' | 'missing'
  /** The file. */
  readonly path: string
  /** Where in the file it begins. */
  readonly offset: number
  /** How many bytes it is. */
  readonly bytes: number
  /** How many events are gone; null where nobody can tell, as of a torn end. */
  readonly events: number | null
  /** The id of the event before it: whoever reads on after this is told that some are missed. */
  readonly after: string
  /** All of this as a line for people. */
  readonly message: string
}

export function damageOf(fields: Omit<Damage, 'message'>): Damage {
  return { ...fields, message: messageOf(fields) }
}

function messageOf({ kind, path, offset, bytes, events, after }: Omit<Damage, 'message'>): string {
  const lost = events === 1 ? '1 event is' : `${events || 'no'} events are`
  if (kind === 'torn')
    return `Event log ${path}: cut a torn end of ${bytes} bytes at byte ${offset}, after the event ${after}`
  if (kind === 'missing')
    return `Event log ${path}: ${lost} missing behind it, after the event ${after}`
  return `Event log ${path}: passing over ${bytes} corrupt bytes at byte ${offset}: ${lost} lost after the event ${after}`
}
