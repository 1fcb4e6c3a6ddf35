/** Words as a list, for an error message: `a, b or c`. */
export function listed(words: readonly string[], last: 'and' | 'or'): string {
  const tail = words.slice(-2).join(` ${last} `)
  return [...words.slice(0, -2), tail].join(', ')
}
