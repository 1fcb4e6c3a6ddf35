/** Whether an error says that somebody has given up, as what heeds an `AbortSignal` throws. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
