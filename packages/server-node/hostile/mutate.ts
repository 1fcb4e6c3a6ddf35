/** Random requests: right ones, with something done to their bytes. */

/** A source of random numbers from 0 up to 1, the same for the same seed: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

const host = 'Host: a.test\r\n'

/** What is mutated. */
const originals = [
  `GET / HTTP/1.1\r\n${host}\r\n`,
  `GET /path?query=1 HTTP/1.1\r\n${host}Accept: */*\r\nUser-Agent: x\r\n\r\n`,
  `HEAD /h HTTP/1.1\r\n${host}\r\n`,
  `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
  `GET http://a.test/abs HTTP/1.1\r\n${host}\r\n`,
  `GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`,
  `POST /p HTTP/1.1\r\n${host}Content-Length: 11\r\n\r\nhello world`,
  `POST /c HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n`,
  `PUT /e HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc`,
  `POST /1 HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\noneGET /2 HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  `GET /1 HTTP/1.1\r\n${host}\r\nGET /2 HTTP/1.1\r\n${host}\r\nGET /3 HTTP/1.1\r\n${host}\r\n`,
  `DELETE /d HTTP/1.1\r\n${host}Cookie: a=b; c=d\r\nAuthorization: Bearer x\r\n\r\n`,
]

/** What has a meaning somewhere. */
const words = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\n\n',
  '\0',
  ' ',
  '\t',
  ':',
  ': ',
  ';',
  ',',
  '/',
  '\\',
  '#',
  '?',
  '*',
  '@',
  '%',
  '%00',
  '\x7f',
  '\x80',
  '\xff',
  '"',
  '0',
  '-1',
  '+1',
  '0x10',
  'ffffffffffffffff',
  '18446744073709551615',
  '4294967296',
  '0\r\n\r\n',
  '1\r\nZ\r\n',
  'GET',
  'POST',
  'CONNECT',
  'PRI',
  'PURGE',
  ' HTTP/1.1',
  ' HTTP/1.0',
  ' HTTP/2.0',
  'HTTP/0.9',
  'http://',
  'https://b.test',
  'Host: b.test\r\n',
  'Host:\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: gzip\r\n',
  'Transfer-Encoding: \x0bchunked\r\n',
  'Connection: close\r\n',
  'Connection: keep-alive\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Upgrade: h2c\r\n',
  'Expect: 100-continue\r\n',
  'Expect: tea\r\n',
  'Trailer: x\r\n',
  'TE: trailers\r\n',
  'Content-Encoding: gzip\r\n',
  'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n',
]

/** A mutant: one of the originals, or two, changed in one to three places. */
export function mutant(random: () => number): Buffer {
  let text = pick(originals, random)
  if (random() < 0.15) text += pick(originals, random)
  for (let left = 1 + below(3, random); left > 0; left--) text = mutated(text, random)
  return Buffer.from(text, 'latin1')
}

/** The lengths of the pieces in which a mutant is sent: mostly none, and it is sent at once. */
export function piecesOf(bytes: Buffer, random: () => number): number[] {
  if (random() < 0.7) return []
  const pieces: number[] = []
  for (let left = below(4, random); left >= 0; left--) pieces.push(1 + below(bytes.length, random))
  return pieces
}

function mutated(text: string, random: () => number): string {
  const at = below(text.length + 1, random)
  const to = Math.min(text.length, at + 1 + below(random() < 0.8 ? 8 : 60, random))
  const [before, middle, behind] = [text.slice(0, at), text.slice(at, to), text.slice(to)]
  switch (below(10, random)) {
    case 0:
      return before + String.fromCharCode(below(256, random)) + text.slice(at + 1)
    case 1:
      return before + behind
    case 2:
      return before + middle + middle + behind
    case 3:
    case 4:
      return before + pick(words, random) + text.slice(at)
    case 5:
      return before + pick(words, random) + behind
    case 6:
      return before // cut off
    case 7: {
      // A line again, or somewhere else.
      const all = text.split('\r\n')
      all.splice(below(all.length, random), below(2, random), pick(all, random))
      return all.join('\r\n')
    }
    case 8:
      return before + middle.toUpperCase() + behind
    default:
      return before + pick(words, random).repeat(1 + below(50, random)) + text.slice(at)
  }
}

function below(count: number, random: () => number): number {
  return Math.floor(random() * count)
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[below(items.length, random)]!
}
