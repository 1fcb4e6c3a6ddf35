/** The stream that a log is kept in: made where there is none, and else left as it is. */

import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream'

import { SettingsError } from './errors.ts'
import type { Settings } from './options.ts'

/** Asks for the stream, and makes it where there is none.
 * @throws {Error} (rejects) When it is not as it has to be, or as the options say. */
export async function openStream(jsm: JetStreamManager, settings: Settings): Promise<StreamInfo> {
  const found = (await find(jsm, settings.stream)) ?? (await make(jsm, settings))
  check(found.config, settings)
  return found
}

async function find(jsm: JetStreamManager, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await jsm.streams.info(stream)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

async function make(jsm: JetStreamManager, settings: Settings): Promise<StreamInfo> {
  try {
    return await jsm.streams.add(configOf(settings))
  } catch (error) {
    // Another process, with other options, was faster by a moment. What it has made will be checked.
    const found = await find(jsm, settings.stream)
    if (found === undefined) throw error
    return found
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && error.name === 'StreamNotFoundError'
}

function configOf(settings: Settings): Partial<StreamConfig> & { name: string } {
  const { stream, subject, storage = 'file', replicas = 1, appendTimeoutMs } = settings
  const { maxEvents = 100_000, maxBytes = Infinity, maxAgeMs = Infinity } = settings
  return {
    name: stream,
    subjects: [subject],
    retention: 'limits',
    discard: 'old',
    storage,
    num_replicas: replicas,
    max_msgs: toLimit(maxEvents),
    max_bytes: toLimit(maxBytes),
    max_age: maxAgeMs === Infinity ? 0 : maxAgeMs * nanosPerMs,
    // Two minutes is what JetStream has itself. Not longer than the age, it says.
    duplicate_window: Math.min(maxAgeMs, Math.max(120_000, 4 * appendTimeoutMs)) * nanosPerMs,
  }
}

/** That nothing is changed behind somebody's back, and nothing promised that the stream does not keep. */
function check(config: StreamConfig, settings: Settings): void {
  const { subject, maxEvents, maxBytes, maxAgeMs, storage, replicas } = settings
  const refuse = (what: string): never => {
    throw new SettingsError(what)
  }
  if (!config.subjects?.some((pattern) => matches(pattern, subject)))
    refuse(
      `it has the subjects ${JSON.stringify(config.subjects ?? [])}, and not the subject ${JSON.stringify(subject)}`,
    )
  if (config.retention !== 'limits')
    refuse(`its retention is ${config.retention}, by which events go when they are read`)
  if (config.no_ack) refuse('it has no_ack, and never says that it has an event')
  const windowMs = config.duplicate_window / nanosPerMs
  if (windowMs < 2 * settings.appendTimeoutMs)
    refuse(
      `its duplicate_window of ${windowMs} ms is less than twice appendTimeoutMs, ${settings.appendTimeoutMs} ms, ` +
        'and an event that is tried again might be in it twice',
    )
  const wanted: [option: string, value: unknown, actual: unknown][] = [
    ['maxEvents', maxEvents, fromLimit(config.max_msgs)],
    ['maxBytes', maxBytes, fromLimit(config.max_bytes)],
    ['maxAgeMs', maxAgeMs, fromLimit(config.max_age / nanosPerMs)],
    ['storage', storage, config.storage],
    ['replicas', replicas, config.num_replicas],
  ]
  for (const [option, value, actual] of wanted)
    if (value !== undefined && value !== actual)
      refuse(
        `${option} is ${String(value)}, and the stream is there with ${String(actual)}; edit the stream, or leave out the option to take it as it is`,
      )
}

/** Whether a subject is one of a pattern, in which `*` stands for a token and `>` for the rest. */
function matches(pattern: string, subject: string): boolean {
  const tokens = subject.split('.')
  const parts = pattern.split('.')
  if (parts.at(-1) === '>') {
    parts.pop()
    if (tokens.length <= parts.length) return false
  } else if (tokens.length !== parts.length) return false
  return parts.every((part, index) => part === '*' || part === tokens[index])
}

const nanosPerMs = 1_000_000

function toLimit(value: number): number {
  return value === Infinity ? -1 : value
}

function fromLimit(value: number): number {
  return value <= 0 ? Infinity : value
}
