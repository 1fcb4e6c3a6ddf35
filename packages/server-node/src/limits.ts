/** What a client may ask of a server, and how long it may take: options, defaults and checks. */

import { readFileSync } from 'node:fs'
import type { ServerOptions } from 'node:http'
import type { ServerOptions as SessionOptions } from 'node:http2'

import { checkNames, describe } from '@wakerobin/core/adapter'

import { checkObject } from './check-options.ts'
import { maxTimerMs } from './clock.ts'

/** What a client may ask of the server, and how long it may take. `Infinity` turns a limit off. A time of 0 is refused,
 * as it means "at once" to some and "never" to others. See [the guide](../../../docs/guide/limits.md). */
export interface LimitOptions {
  /** The longest head of a request, in bytes: the target, the names and the values; a longer one is a 431.
   * Default 16 KiB. */
  headBytes?: number
  /** The most header lines of a request; more are a 431. Default 100. */
  headerCount?: number
  /** The longest request target, in bytes; a longer one is a 414. Default 8 KiB. */
  targetBytes?: number
  /** The longest request body that is read, in bytes, where a handler sets no other limit; a longer
   * one is a 413. What no handler reads is dropped up to that length; then the connection ends. 0 for no
   * body at all. Default 1 MiB. */
  bodyBytes?: number
  /** The most connections at a time, those included that are still in a TLS handshake, and those that go on as something
   * else, a WebSocket say. On one above them a request is a 503 with `Retry-After`, whatever it is, and one that sends
   * nothing is closed after a second. Of those there is a tenth as many, but from 10 to 1000; more are closed at once.
   * Default: three quarters of the files that the process may have open,
   * as Linux says in `/proc/self/limits`; elsewhere `Infinity`. */
  connections?: number
  /** How long the head of a request may take to come, in milliseconds; then it is a 408. A connection on which
   * nothing has come is closed without a word. Looked at every quarter of that time, and at least every five seconds.
   * Default 10 000. */
  headMs?: number
  /** How long a whole request may take to come, its body included, in milliseconds; then it is a 408, where its
   * response has not begun, and in any case the end of the connection. Looked at as `headMs`. Default 60 000. */
  requestMs?: number
  /** How long a connection is kept when it is idle, in milliseconds. Behind a proxy it should be longer than
   * the proxy keeps its side, say 65 000: else the proxy sends a request into a connection that is just being closed.
   * Default 5 000. */
  keepAliveMs?: number
  /** How long a client may take none of a response that waits for it, in milliseconds; then its connection is
   * cut. Looked at every quarter of that time. Less than a step of the system's send buffer, up to 1.5 MB on Linux, counts
   * as nothing. Event streams have a `writeTimeoutMs` of their own, and only that.
   * Default 60 000. */
  writeStallMs?: number
  /** How long handlers may take, every `beforeSend` included, in milliseconds; then the answer is a 503,
   * `conn.signal` aborts, `onError` is told which handler it was, and what that does later is dropped. Default
   * `Infinity`: a handler may take its time. */
  handlerMs?: number
  /** The most requests at a time on a connection that speaks HTTP/2; the client knows, and waits. Default 100. */
  streams?: number
  /** The longest list of header fields in HTTP/2, in bytes as RFC 9113 §6.5.2 counts them, with 32 for each field; the
   * client is told, and the stream of a longer one is reset; where it does not know yet, it is a 431. Default 32 KiB. */
  headerListBytes?: number
  /** How many streams a client may reset on a connection within ten seconds; with the next one the connection
   * is closed. Default 50. */
  resets?: number
  /** How long a connection that speaks HTTP/2 is kept when it is idle, in milliseconds. A client that is silent for that
   * long while its requests go on is asked for a sign of life, a PING, and cut where it does not answer in the same time.
   * Default 60 000. */
  sessionIdleMs?: number
  /** How long a client that has ended its side of the connection is waited for without a byte being
   * sent to it, in milliseconds. Some clients end their side after the request and read on; most have
   * left, and a handler that does not look at `conn.signal` may never notice. 0 for not at all.
   * Default 10 000. */
  halfClosedMs?: number
}

/** The limits of a server, all of them given. */
export type Limits = Required<LimitOptions>

/** The limits, with the defaults where none are given.
 * @throws {RangeError} When one cannot be used. @throws {TypeError} When there is no such limit. */
export function checkLimits(options: LimitOptions = {}): Limits {
  checkObject('limits', options)
  const {
    headBytes = 16 * 1024,
    headerCount = 100,
    targetBytes = 8 * 1024,
    bodyBytes = 1024 * 1024,
    connections = affordableConnections(),
    headMs = 10_000,
    requestMs = 60_000,
    keepAliveMs = 5_000,
    writeStallMs = 60_000,
    handlerMs = Infinity,
    streams = 100,
    headerListBytes = 32 * 1024,
    resets = 50,
    sessionIdleMs = 60_000,
    halfClosedMs = 10_000,
  } = options
  const limits: Limits = {
    headBytes: checkCount('headBytes', headBytes),
    headerCount: checkCount('headerCount', headerCount),
    targetBytes: checkCount('targetBytes', targetBytes),
    bodyBytes: checkFromZero('bodyBytes', bodyBytes),
    connections: checkCount('connections', connections),
    headMs: checkTime('headMs', headMs),
    requestMs: checkTime('requestMs', requestMs),
    keepAliveMs: keptTime(checkTime('keepAliveMs', keepAliveMs)),
    writeStallMs: checkTime('writeStallMs', writeStallMs),
    handlerMs: checkTime('handlerMs', handlerMs),
    streams: checkCount('streams', streams),
    headerListBytes: checkCount('headerListBytes', headerListBytes),
    resets: checkFromZero('resets', resets),
    sessionIdleMs: checkTime('sessionIdleMs', sessionIdleMs),
    halfClosedMs: checkFromZero('halfClosedMs', halfClosedMs),
  }
  checkNames('Cannot serve with limits.', options, Object.keys(limits))
  return limits
}

/** Clients are told of it, so it is what is kept: node's timer takes no more, and node adds a second to it. */
function keptTime(ms: number): number {
  return ms === Infinity ? ms : Math.min(ms, maxTimerMs - 1000)
}

/** The limits that node's own server keeps, as its options. */
export function nodeOptions(limits: Limits): ServerOptions {
  // Node refuses a head that may take longer than the whole request.
  const headMs = Math.min(limits.headMs, limits.requestMs)
  return {
    maxHeaderSize: Math.min(Math.floor(limits.headBytes), 2 ** 31 - 1),
    headersTimeout: nodeTime(headMs),
    requestTimeout: nodeTime(limits.requestMs),
    keepAliveTimeout: nodeTime(limits.keepAliveMs),
    connectionsCheckingInterval: lookMs(headMs, 5_000),
    // Ours is the same for a Host that is missing and for one that is wrong.
    requireHostHeader: false,
  }
}

/** The limits that node keeps for a session of HTTP/2, as its options. */
export function sessionOptions(limits: Limits): SessionOptions {
  return {
    settings: {
      maxConcurrentStreams: settingOf(limits.streams),
      maxHeaderListSize: settingOf(limits.headerListBytes),
    },
    // More are a 431, which is ours to say.
    maxHeaderListPairs: 2 ** 31 - 1,
    // A longer head of a response would end the session, without a word to anybody.
    maxSendHeaderBlockLength: 2 ** 31 - 1,
    // In MB. Node counts what is to be sent too, and refuses requests above it: with its 10, one large body stops the
    // others. What clients send is bounded by the windows of their streams.
    maxSessionMemory: 1000,
  }
}

/** RFC 9113 §6.5.2: 32 bits. */
function settingOf(limit: number): number {
  return Math.min(Math.floor(limit), 2 ** 32 - 1)
}

/** The most headers that node keeps: one more than there may be, so that we see that there are too many. 0 for all. */
export function nodeHeadersCount({ headerCount }: Limits): number {
  return headerCount === Infinity ? 0 : Math.min(Math.floor(headerCount) + 1, 2 ** 30)
}

/** How often to look whether a time is over: four times within it, unless that would be too often or too seldom. */
export function lookMs(limitMs: number, mostMs: number): number {
  return Math.max(20, Math.min(Math.floor(limitMs / 4), mostMs))
}

/** Node's 0 is our `Infinity`. */
function nodeTime(ms: number): number {
  return ms === Infinity ? 0 : Math.min(Math.ceil(ms), maxTimerMs)
}

/** Three quarters of the files that this process may have open: the rest is for what the app opens. Node has raised the
 * soft limit to the hard one when it started. */
function affordableConnections(): number {
  try {
    const files = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    return files === null ? Infinity : Math.max(1, Math.floor(Number(files[1]) * 0.75))
  } catch {
    return Infinity // not on Linux
  }
}

function checkFromZero(option: keyof Limits, value: number): number {
  return check(option, value, value >= 0, 'a number from 0')
}

function checkCount(option: keyof Limits, value: number): number {
  return check(option, value, value >= 1, 'a number from 1')
}

function checkTime(option: keyof Limits, value: number): number {
  return check(option, value, value > 0, 'a number above 0, or Infinity for no limit')
}

function check(option: string, value: number, isRight: boolean, right: string): number {
  if (typeof value === 'number' && isRight) return value
  throw new RangeError(`Cannot serve with limits.${option} ${describe(value)}: it must be ${right}`)
}
