/** What goes wrong, and how it is told. */

/** What no second attempt makes better: the program, or the stream, has to be changed. */
export class SettingsError extends Error {}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
