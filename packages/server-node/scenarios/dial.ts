/** Connects to a target. */

import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import { first } from '../fixtures/certificates.ts'

/** A port of 127.0.0.1, and whether it speaks TLS. */
export type Where = number | { readonly port: number; readonly isSecure: boolean }

/** @param onReady Called when bytes can be sent. */
export function dial(where: Where, onReady: () => void): Socket {
  const { port, isSecure } = typeof where === 'number' ? { port: where, isSecure: false } : where
  const options = { host: '127.0.0.1', port, noDelay: true }
  if (!isSecure) return connect(options, onReady)
  return connectTls({ ...options, servername: 'localhost', ca: first.cert }, onReady)
}
