/** Text from outside, made safe for a line: what could end it, forge a part of it, or talk to a terminal is written out. */

/** Text in which nothing but control and format characters is written out: line breaks, escape sequences, what turns the
 * direction of text. */
export function escapeControls(text: string): string {
  return plain.test(text) ? text : text.replace(controls, written)
}

/** Text that stands by itself between two spaces. */
export function escapeWord(text: string): string {
  return plainWord.test(text) ? text : text.replace(wordBreakers, written)
}

/** Text that stands in quotes, which are not added. */
export function escapeQuoted(text: string): string {
  return escapeControls(text.replace(/["\\]/g, '\\$&'))
}

/** Text as Apache escapes it: what is not printable ASCII by the bytes it has in UTF-8. */
export function escapeApache(text: string): string {
  if (plainWord.test(text)) return text
  return text.replace(/[^ !#-[\]-~]/gu, (char) => {
    if (char === '"' || char === '\\') return `\\${char}`
    return Array.from(utf8.encode(char), hexOf).join('')
  })
}

/** A value as JSON on one line. What JSON leaves as it is and a terminal or a reader of lines does not is escaped, too. */
export function jsonLine(value: object): string {
  const text = JSON.stringify(value)
  // Such characters only stand in strings.
  return text.replace(controls, (char) =>
    char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

const utf8 = new TextEncoder()

const plain = /^[ -~]*$/
const plainWord = /^[!#-[\]-~]*$/
/** Controls (C0, DEL, C1), format characters (bidirectional ones, those of no width), lone surrogates, and Unicode's own line breaks. */
const controls = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const wordBreakers = /[\p{Cc}\p{Cf}\p{Cs}\p{Z}"\\]/gu

function written(char: string): string {
  if (char === '"' || char === '\\') return `\\${char}`
  const code = char.codePointAt(0)!
  return code > 0xff ? `\\u{${code.toString(16)}}` : hexOf(code)
}

function hexOf(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}
