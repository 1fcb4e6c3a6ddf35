/** `@wakerobin/websocket`: WebSockets as a handler. */

export type { OriginPolicy } from './origin.ts'
export type { WebSocketOptions } from './options.ts'
export { websocket, type WebSocketHandler } from './websocket.ts'
export type { WebSocketClose, WebSocketConn } from './websocket-conn.ts'
