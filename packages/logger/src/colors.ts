/** Whether a stream of the process takes colours. */

interface ProcessLike {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly stdout?: { readonly isTTY?: boolean }
  readonly stderr?: { readonly isTTY?: boolean }
}

/** Whether it is a terminal, unless NO_COLOR (no-color.org) or TERM=dumb say no, or FORCE_COLOR says yes, or no with `0` or
 * `false`. As in node, FORCE_COLOR wins. */
export function isColorTerminal(
  stream: 'stdout' | 'stderr',
  process: ProcessLike | undefined = (globalThis as { process?: ProcessLike }).process,
): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: terminal } = process?.env ?? {}
  if (force !== undefined) return force !== '0' && force !== 'false'
  if ((no !== undefined && no !== '') || terminal === 'dumb') return false
  return process?.[stream]?.isTTY === true
}
