/** JSON-RPC 2.0, as much of it as MCP needs. Source: https://www.jsonrpc.org/specification */

export type Id = string | number

export interface Notification {
  readonly jsonrpc: '2.0'
  readonly method: string
  readonly params?: Readonly<Record<string, unknown>>
}

export interface Request extends Notification {
  readonly id: Id
}

/** A request or a notification; undefined where it is neither, as the answer to a request of ours would be. */
export function asked(value: unknown): Request | Notification | undefined {
  const { jsonrpc, method, id } = Object(value)
  if (jsonrpc !== '2.0' || typeof method !== 'string') return undefined
  return id === undefined || typeof id === 'string' || typeof id === 'number'
    ? Object(value)
    : undefined
}

export function isRequest(message: Request | Notification): message is Request {
  return 'id' in message && message.id !== undefined
}

/** What the sender of a request wants to read in notifications of its progress, if it wants any. */
export function progressTokenOf({ params }: Request): Id | undefined {
  const { _meta } = Object(params)
  return Object(_meta).progressToken
}

export function notification(method: string, params: object): object {
  return { jsonrpc: '2.0', method, params }
}

export function result(id: Id, result: object): object {
  return { jsonrpc: '2.0', id, result }
}

/** @param id Null where the request is not known. */
export function failure(id: Id | null, code: keyof typeof codes, message: string): object {
  return { jsonrpc: '2.0', id, error: { code: codes[code], message } }
}

const codes = { 'invalid request': -32600, 'no such method': -32601, 'invalid params': -32602 }
