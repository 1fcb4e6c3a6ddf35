/** The certificate of a listener: read at the start, and read anew without a restart. */

import { readFile } from 'node:fs/promises'
import type { ServerOpts } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { SecureContext, TlsOptions as NodeTlsOptions, Server as TlsServer } from 'node:tls'

import { describe } from '@wakerobin/core/adapter'

import { maxTimerMs } from './clock.ts'
import { shown } from './report.ts'

/** How a listener speaks TLS: what node's `tls.createServer` takes (`cert` and `key` as PEM, `ca`, `SNICallback`,
 * `requestCert`, `minVersion`, …), and a certificate in files. */
export interface TlsOptions extends Omit<
  NodeTlsOptions,
  'handshakeTimeout' | 'ALPNProtocols' | 'ALPNCallback' | 'secureContext' | keyof ServerOpts
> {
  /** The path of the certificate as PEM, with those between it and the root behind it. In place of `cert`. */
  certFile?: string | URL
  /** The path of its private key as PEM. In place of `key`. */
  keyFile?: string | URL
  /** How often the files are looked at, in milliseconds: when they have changed, new connections get the new
   * certificate. One that cannot be used is reported on stderr, and the former one kept. 0 for never.
   * Default 60 000. */
  checkFilesMs?: number
  /** How long a handshake may take, in milliseconds, before the connection is closed. `Infinity` for ever.
   * Default 10 000. */
  handshakeTimeoutMs?: number
}

/** TLS options, or a function of yours that gets them: it is called at the start, when the
 * files that it named have changed, and by `handle.reloadTls()`. All that
 * it returns then holds for new connections, but `requestCert`, `rejectUnauthorized`, `enableTrace`, `pskIdentityHint` and
 * whether there is a `pskCallback`: those must not change. */
export type TlsSource = TlsOptions | (() => TlsOptions | Promise<TlsOptions>)

/** Options as node takes them. */
export type SecureOptions = NodeTlsOptions

interface TlsSettings {
  /** For node, with the contents of the files. */
  readonly options: SecureOptions
  readonly handshakeTimeoutMs: number
  readonly checkFilesMs: number
  /** What was in the files; undefined where there are none. */
  readonly files: string | undefined
}

/** The TLS of one listener, or of several with the same options. */
export class Tls implements Disposable {
  readonly #source: TlsSource
  readonly #servers: TlsServer[] = []
  #settings: TlsSettings
  /** What was in the files when they could not be used. */
  #broken: string | undefined
  #isReported = false
  #isOver = false
  #timer: NodeJS.Timeout | undefined
  /** Resolves when the last reload is over. */
  #reloaded: Promise<unknown> = Promise.resolve()

  private constructor(source: TlsSource, settings: TlsSettings) {
    this.#source = source
    this.#settings = settings
    this.#watch()
  }

  /** @throws What is wrong with the options or the files. */
  static async open(source: TlsSource): Promise<Tls> {
    return new Tls(source, await readTls(source))
  }

  /** For the making of a server. Node keeps its callbacks for good: these ask those that were read last. */
  get options(): SecureOptions {
    const options = { ...this.#settings.options }
    if (options.SNICallback !== undefined || typeof this.#source === 'function')
      options.SNICallback = (name, done) => this.#chooseContext(name, done)
    if (options.pskCallback !== undefined)
      options.pskCallback = (...args) => this.#settings.options.pskCallback!(...args)
    return options
  }

  #chooseContext(name: string, done: (error: Error | null, context?: SecureContext) => void): void {
    const { SNICallback } = this.#settings.options
    if (SNICallback === undefined) done(null)
    else SNICallback(name, done)
  }

  get handshakeTimeoutMs(): number {
    return this.#settings.handshakeTimeoutMs
  }

  /** Gives a server what is read anew. */
  serve(server: TlsServer): void {
    this.#servers.push(server)
  }

  /** Reads the options and files anew: new connections get the new certificate, those that are open keep theirs.
   * @throws What is wrong with them. The former certificate is kept then. */
  async reload(): Promise<void> {
    // One after the other: what was read first must not be what is used last.
    const reloaded = this.#reloaded.then(async () => this.#use(await readTls(this.#source)))
    this.#reloaded = reloaded.catch(() => {})
    await reloaded
  }

  #use(settings: TlsSettings): void {
    checkFixed(this.#settings.options, settings.options)
    for (const server of this.#servers) server.setSecureContext(settings.options)
    this.#settings = settings
    this.#watch()
  }

  /** Looks at the files, where there are any, as often as the settings say. */
  #watch(): void {
    clearInterval(this.#timer)
    const { files, checkFilesMs } = this.#settings
    if (files === undefined || checkFilesMs === 0 || this.#isOver) return
    const check = (): Promise<void> => this.#check()
    this.#timer = setInterval(check, Math.min(checkFilesMs, maxTimerMs)).unref()
  }

  async #check(): Promise<void> {
    const { files, options } = this.#settings
    let found: string | undefined
    try {
      found = filesOf(await readFiles(options as TlsOptions))
      if (found !== files) await this.reload()
      this.#broken = undefined
    } catch (error) {
      this.#report(found ?? String(error), error)
    }
  }

  /** Once for the same files; and not at once: one may have been written, and the other not yet. */
  #report(found: string, error: unknown): void {
    const isSame = this.#broken === found
    if (!isSame) this.#isReported = false
    this.#broken = found
    if (!isSame || this.#isReported) return
    this.#isReported = true
    console.error(
      `Wakerobin: the new certificate cannot be used, and the former one is kept: ${shown(error)}`,
    )
  }

  /** Looks at the files no more. */
  [Symbol.dispose](): void {
    this.#isOver = true
    clearInterval(this.#timer)
  }
}

type Files = { readonly [name in 'certFile' | 'keyFile']?: TlsOptions[name] | undefined }
type Contents = { readonly cert: Buffer | undefined; readonly key: Buffer | undefined }

async function readTls(source: TlsSource): Promise<TlsSettings> {
  const given: unknown = typeof source === 'function' ? await source() : source
  if (typeof given !== 'object' || given === null)
    throw new TypeError(`Cannot use ${describe(given)} as tls: expected an object of options`)
  const { checkFilesMs = 60_000, handshakeTimeoutMs = 10_000, ...options } = given as TlsOptions
  checkNumber('checkFilesMs', checkFilesMs, 0)
  checkNumber('handshakeTimeoutMs', handshakeTimeoutMs, 1)
  checkCertificate(options)
  const contents = await readFiles(options)
  const secure: SecureOptions = {
    // Where node is told of a protocol, it takes no versions.
    ...(options.secureProtocol === undefined && { minVersion: 'TLSv1.2' }),
    ...options,
    ...(contents.cert !== undefined && { cert: contents.cert }),
    ...(contents.key !== undefined && { key: contents.key }),
  }
  try {
    createSecureContext(secure)
  } catch (error) {
    throw new Error(`Cannot use ${unusable(options, secure)}: ${(error as Error).message}`, {
      cause: error,
    })
  }
  return { options: secure, handshakeTimeoutMs, checkFilesMs, files: filesOf(contents) }
}

/** What node does not take of the options: its error says what is wrong, and not with which of them. */
function unusable({ certFile, keyFile }: Files, secure: SecureOptions): string {
  const { cert, key, pfx, passphrase } = secure
  if (!isUsable({ cert }))
    return `the certificate ${certFile === undefined ? '' : `${String(certFile)} `}of tls`
  if (!isUsable({ key, passphrase }))
    return `the key ${keyFile === undefined ? '' : `${String(keyFile)} `}of tls`
  return isUsable({ cert, key, pfx, passphrase }) ? 'the options of tls' : 'the certificate of tls'
}

function isUsable(options: SecureOptions): boolean {
  try {
    createSecureContext(options)
    return true
  } catch {
    return false
  }
}

/** What node's servers take at their start alone, as they take it. */
function fixedOf(options: SecureOptions): Readonly<Record<string, unknown>> {
  return {
    requestCert: options.requestCert === true,
    rejectUnauthorized: options.rejectUnauthorized !== false,
    enableTrace: options.enableTrace === true,
    pskIdentityHint: options.pskIdentityHint,
    pskCallback: options.pskCallback === undefined ? undefined : 'a function',
  }
}

/** @throws {TypeError} When something has changed that a server which runs does not take. */
function checkFixed(former: SecureOptions, options: SecureOptions): void {
  const before = fixedOf(former)
  for (const [name, value] of Object.entries(fixedOf(options))) {
    if (value === before[name]) continue
    throw new TypeError(
      `Cannot change ${name} of tls from ${String(before[name])} to ${String(value)} without a restart`,
    )
  }
}

function checkNumber(name: string, value: number, least: number): void {
  if (typeof value === 'number' && value >= least) return
  throw new RangeError(
    `Cannot serve with tls.${name} ${describe(value)}: it must be a number from ${least}`,
  )
}

function checkCertificate(options: TlsOptions): void {
  for (const [inMemory, inFile] of [
    ['cert', 'certFile'],
    ['key', 'keyFile'],
  ] as const) {
    if (options[inMemory] !== undefined && options[inFile] !== undefined)
      throw new TypeError(`Cannot use both ${inMemory} and ${inFile} of tls: give one of them`)
  }
  // An empty one is none to node: it would start, and refuse every client.
  const hasCertificate = Boolean(options.cert) || options.certFile !== undefined
  const hasKey = Boolean(options.key) || options.keyFile !== undefined
  if (hasCertificate && hasKey) return
  if (hasCertificate !== hasKey)
    throw new TypeError(
      `Cannot use tls with a ${hasKey ? 'key' : 'certificate'} alone: it needs both, as cert and key or as certFile and keyFile`,
    )
  // With a pre-shared key there is none.
  if (options.pfx ?? options.SNICallback ?? options.pskCallback) return
  throw new TypeError(
    'Cannot use tls without a certificate: give cert and key, certFile and keyFile, pfx, or an SNICallback',
  )
}

async function readFiles({ certFile, keyFile }: Files): Promise<Contents> {
  const [cert, key] = await Promise.all([
    readPem('certFile', certFile),
    readPem('keyFile', keyFile),
  ])
  return { cert, key }
}

async function readPem(name: string, path: string | URL | undefined): Promise<Buffer | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path)
  } catch (error) {
    throw new Error(`Cannot read tls.${name} ${String(path)}: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

function filesOf({ cert, key }: Contents): string | undefined {
  return cert === undefined && key === undefined ? undefined : `${String(cert)}\0${String(key)}`
}
