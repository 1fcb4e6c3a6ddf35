/** A web `Request` as core receives it. */

import { ArrivingBody } from './arriving-body.ts'
import type { Incoming, ServerContext } from './incoming.ts'

/** Where a request comes from, which a `Request` does not say. */
export interface Origin {
  readonly peerIp: string | undefined
  readonly isSecure: boolean
}

export class FetchIncoming implements Incoming {
  readonly method: string
  readonly target: string
  /** A `Request` does not say. */
  readonly httpVersion = '1.1'
  readonly peerIp: string | undefined
  readonly isSecure: boolean
  readonly startTime: number = performance.now()
  readonly server: ServerContext
  isDisconnected = false
  readonly #request: Request
  #rawHeaders: readonly string[] | undefined
  #body: ArrivingBody | undefined
  readonly #onDisconnect: (() => void)[] = []

  constructor(request: Request, { peerIp, isSecure }: Origin, server: ServerContext) {
    this.method = request.method
    this.target = targetOf(request.url)
    this.peerIp = peerIp
    this.isSecure = isSecure
    this.server = server
    this.#request = request
  }

  get rawHeaders(): readonly string[] {
    this.#rawHeaders ??= rawHeadersOf(this.#request)
    return this.#rawHeaders
  }

  /** One that was made by hand, or has come by HTTP/2, may have a body of which no header tells. */
  get hasUnsizedBody(): boolean {
    const { method, body } = this.#request
    return method !== 'GET' && method !== 'HEAD' && body !== null
  }

  onDisconnect(callback: () => void): void {
    this.#onDisconnect.push(callback)
  }

  openBody(): AsyncIterable<Uint8Array> {
    this.#body = new ArrivingBody(this.#request.body ?? undefined)
    if (this.isDisconnected) this.#body.leave()
    return this.#body.read()
  }

  /** The client leaves. */
  leave(): void {
    if (this.isDisconnected) return
    this.isDisconnected = true
    for (const callback of this.#onDisconnect.splice(0)) callback()
    this.#body?.leave()
  }
}

/** The target in origin form: a URL without its scheme, its host and its fragment. */
function targetOf(url: string): string {
  const target = url.slice(url.indexOf('/', url.indexOf('://') + 3))
  const hash = target.indexOf('#')
  return hash === -1 ? target : target.slice(0, hash)
}

function rawHeadersOf(request: Request): readonly string[] {
  const { headers, url } = request
  const lines: string[] = []
  for (const [name, value] of headers) lines.push(name, value)
  if (!headers.has('host')) lines.push('host', new URL(url).host)
  return lines
}
